export default {
  testEnvironment: 'node',
  rootDir: '.',
  testMatch: ['<rootDir>/build/test/**/*.test.js'],
  transform: {},
  moduleNameMapper: {
    '^quartermaster$': '<rootDir>/build/src/index.js',
    '^quartermaster/testing$': '<rootDir>/build/src/testing/index.js',
    '^quartermaster/inversify$': '<rootDir>/build/src/container.js',
  },
  testTimeout: 60_000,
};
