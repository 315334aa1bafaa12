/** `mongodb:`: a MongoDB server, or one that speaks its protocol, by the package `mongodb`. */
import type { PoolDriver } from '../pool.js';
import { MongoPool } from './pool.js';
import { optionsKey, readOptions, settings, urlFault } from './settings.js';

const prepare = async (url: string) => (await import('./test-database.js')).createTestDatabase(url);

export const mongo: PoolDriver<MongoPool> = {
  name: 'mongo',
  schemes: ['mongodb', 'mongodb+srv'],
  backend: 'mongo',
  settings,
  checkUrl: urlFault,
  key: (url, options) => optionsKey(readOptions(url, options)),
  create: (url, options, environment) => new MongoPool(readOptions(url, options), environment),
  tests: [
    // Its server orders doubles wrongly from about 1e130 up and 1e-300 down, and leaves the old key in a unique index.
    {
      name: 'mongo',
      variable: 'TEST_MONGO_URL',
      prepare,
      magnitudes: { least: 1e-99, most: 1e99 },
      keepsUniqueKeys: true,
    },
    { name: 'ferretdb', variable: 'TEST_FERRETDB_URL', prepare, transactions: false },
  ],
};
