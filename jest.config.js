import { availableParallelism } from 'node:os';

export default {
  testEnvironment: '<rootDir>/jest.environment.js',
  rootDir: '.',
  testMatch: ['<rootDir>/build/test/**/*.test.js'],
  transform: {},
  moduleNameMapper: {
    '^quartermaster$': '<rootDir>/build/src/index.js',
    '^quartermaster/testing$': '<rootDir>/build/src/testing/index.js',
    '^quartermaster/inversify$': '<rootDir>/build/src/container.js',
  },
  testSequencer: '<rootDir>/jest.sequencer.js',
  // A safety net, wide enough for a machine that does other things too.
  testTimeout: 180_000,
  // Tests wait for servers, leases and children as often as they compute: two cores have work for four files.
  maxWorkers: availableParallelism() + 2,
  // What a test file leaves in its worker's heap makes every later collection dearer, and opening a PGlite sets off
  // several: after fifty files it costs ten times as much as in a new worker.
  workerIdleMemoryLimit: '512MB',
};
