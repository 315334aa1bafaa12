/** A unit of the store without its host: for what is not its tenant's, and for sweeps. */
import type { RecordBackend } from '../../backends/backend.js';
import type { OperationContext } from '../../component.js';
import { defineEvents } from '../events.js';
import { Unit } from '../unit.js';

/** Nothing is told of entries; a unit wants to know where it would be. */
const EVENTS = defineEvents('qm_kv_events');

export function bareUnit(backend: RecordBackend, tenant: string, context: OperationContext): Unit {
  return new Unit({ backend, tenant }, context, EVENTS, 'kv');
}
