/** What is kept of migrations: one record an applied step, one for the library's own schema, two for the lock. */
import type { RecordBackend, RecordSchema, Stored } from '../backends/backend.js';
import { all, compares, equals, orderBy } from '../collection/conditions.js';
import { LIBRARY } from '../collection/library.js';
import type { OperationContext } from '../component.js';

export const MIGRATIONS: RecordSchema = {
  name: 'qm_migrations',
  fields: new Map([
    ['kind', { type: 'string', maxBytes: 16 }],
    ['step', { type: 'number', maxBytes: 0 }],
    ['token', { type: 'number', maxBytes: 0 }],
    ['until', { type: 'date', maxBytes: 0 }],
  ]),
  indexes: [],
  unique: [],
  text: [],
};

export interface AppliedStep {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly appliedAt: Date;
  /** Milliseconds that the step took. */
  readonly duration: number;
}

const PAGE = 500;

export function stepKey(version: number): { collection: RecordSchema; id: string } {
  return { collection: MIGRATIONS, id: `step:${version}` };
}

/** In the order of their versions. */
export async function readApplied(backend: RecordBackend, context: OperationContext): Promise<AppliedStep[]> {
  const steps: AppliedStep[] = [];
  for (;;) {
    const after = steps.at(-1)?.version ?? 0;
    const filter = all(equals('kind', 'step'), compares('step', 'gt', after));
    const request = { collection: MIGRATIONS, filter, sort: orderBy('step', 'number'), limit: PAGE };
    const found = await backend.find(LIBRARY, request, context);
    steps.push(...found.map(readStep));
    if (found.length < PAGE) return steps;
  }
}

function readStep({ value }: Stored): AppliedStep {
  return {
    version: value['step'] as number,
    name: value['name'] as string,
    checksum: value['checksum'] as string,
    appliedAt: new Date(value['appliedAt'] as string),
    duration: value['duration'] as number,
  };
}
