/** What stays of a deleted conversation: where one that is made under its id again goes on, so that no seq comes twice. */
import { defineOwnCollection } from '../../collection/definition.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { Unit } from '../unit.js';

interface EndedValue {
  readonly lastSeq: number;
  /** As the last of its events had it. */
  readonly version: number;
}

export const ENDED = defineOwnCollection<EndedValue>({ name: 'qm_ended_conversations', id: 'given' });

type Owner = Pick<
  StoredRecord<{ readonly lastSeq: number; readonly formerVersion?: number }>,
  'id' | 'version' | 'value'
>;

/** The conversation as its events have it. @param growth what its version grows by in this write */
export function teller({ id, version, value }: Owner, growth = 0): { readonly id: string; readonly version: number } {
  return { id, version: (value.formerVersion ?? 0) + version + growth };
}

export function end(unit: Unit, conversation: Owner): { readonly id: string; readonly version: number } {
  const last = teller(conversation, 1);
  unit.put(ENDED, last.id, { lastSeq: conversation.value.lastSeq, version: last.version });
  return last;
}

/** What a conversation that is made now begins with. */
export interface Beginning {
  readonly lastSeq: number;
  readonly formerVersion?: number;
}

/** Of one under an id that nobody can have used before. */
export const ANEW: Beginning = { lastSeq: 0 };

/**
 * Where the one before under its id ended, and makes the unit stand on that: another may be made and end meanwhile. Few ids have
 * had one before: that there was none is found out by the writing, and read once that was refused.
 */
export async function claimBeginning(unit: Unit, id: string): Promise<Beginning> {
  const former = unit.isFirstTry ? undefined : await unit.find(ENDED, id);
  if (former === undefined) {
    // An insert fails where the id has a live record: this one proves that none has ended. It expires at once,
    // so that only the sweep meets it.
    unit.insert(ENDED, { lastSeq: 0, version: 0 }, { id, expiresAt: unit.now });
    return ANEW;
  }
  unit.remove(ENDED, former);
  return { lastSeq: former.value.lastSeq, formerVersion: former.value.version };
}
