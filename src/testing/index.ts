/** The conformance suites: what a backend or a vector provider must pass to answer as the others do. */
export { describeRecordBackend } from './records.js';
export type { OpenRecords, RecordTarget } from './record-target.js';
export type { PropertyOptions, TestRunner } from './runner.js';
export { availableTargets, type AvailableTarget } from './targets.js';
export { describeVectorProvider } from './vectors.js';
export type { OpenVectors, VectorTarget } from './vector-target.js';
