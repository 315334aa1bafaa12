/** Which databases of an opening may leave something for another one, or for a vector service; and its delivery. */
import { LIBRARY } from './collection/library.js';
import { dispatch } from './delivery/dispatch.js';
import { unknownHere, type DeliveryTargets } from './delivery/handlers.js';
import type { OpenParts } from './opening.js';
import { Placement } from './placement.js';

export function deliveryTargets(parts: OpenParts, storeHost: DeliveryTargets['storeHost']): DeliveryTargets {
  const placeOf = (tenant: string): Placement => new Placement(parts, tenant, undefined);
  return {
    storeHost,
    records: (name, tenant) => {
      if (!parts.databases.has(name)) throw unknownHere(`The database ${name}`);
      return placeOf(tenant).records(placeOf(tenant).database(name), []);
    },
    declarationOf: (name, collection) => parts.databases.get(name)?.declarationOf(collection),
    vectors: (name, tenant) => {
      if (!parts.providers.has(name)) throw unknownHere(`The vector provider ${name}`);
      return placeOf(tenant).vectors(name, false);
    },
  };
}

/** A database alone, with its own vectors, leaves nothing: what is there takes part in its transactions. */
export function startDispatch(parts: OpenParts, targets: DeliveryTargets): void {
  const { databases, providers } = parts;
  const library = new Placement(parts, LIBRARY.tenant, undefined);
  const pools = new Set([...databases.values(), ...providers.values()].map(({ pool }) => pool));
  if (!parts.storeSettings.outbox.deliver || pools.size < 2) return;
  // Databases of one URL have one outbox.
  const byPool = new Map([...databases.values()].map((database) => [database.pool, database]));
  for (const database of byPool.values()) {
    const { transactions, batch } = database.backend.capabilities;
    if (transactions === 'none' || batch !== 'atomic') continue;
    dispatch(library.records(database, []), {
      ...targets,
      report: (error) => parts.report(error),
      beginLoop: parts.beginLoop,
    });
  }
}
