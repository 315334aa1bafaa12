/** The composition root. `quartermaster/inversify` exports its module for a host that has a container of its own. */
import 'reflect-metadata';
import { Container, ContainerModule, type ServiceIdentifier } from 'inversify';
import { systemClock, type Clock } from './clock.js';
import { StorageManager } from './manager.js';
import { checkOpenOptions, type OpenOptions } from './open-options.js';
import { registry, type Registry } from './registry.js';
import { loadSettings, type Settings, type SettingsInput } from './settings.js';

/** The token of the manager is its class. */
export { StorageManager };
export type { Clock } from './clock.js';
export type { ManagerOptions } from './manager.js';
export type { OpenOptions } from './open-options.js';
export type { Registry } from './registry.js';
export type { Settings, SettingsInput } from './settings.js';

/** What is bound, for hosts that bind another one in its place before the manager is first asked for. */
export const TOKENS = {
  clock: Symbol.for('quartermaster.clock') as ServiceIdentifier<Clock>,
  registry: Symbol.for('quartermaster.registry') as ServiceIdentifier<Registry>,
  /** Of `getAsync`: they are read from files, once. */
  settings: Symbol.for('quartermaster.settings') as ServiceIdentifier<Promise<Settings>>,
} as const;

export interface StorageModuleOptions extends OpenOptions {
  readonly settings?: SettingsInput | undefined;
}

/**
 * The module to load into a host's container: `await container.getAsync(StorageManager)` then gives the one manager of
 * that container, not yet open. Close it where the host closes its own. The container remembers a failure too, of wrong
 * settings: to try again takes another container. @throws `VALIDATION` for an option that there is not.
 */
export function storageModule(options: StorageModuleOptions = {}): ContainerModule {
  checkOpenOptions(options, 'settings');
  const { settings, ...sources } = options;
  return new ContainerModule(({ bind }) => {
    bind(TOKENS.clock).toConstantValue(systemClock);
    bind(TOKENS.registry).toConstantValue(registry);
    bind(TOKENS.settings)
      .toDynamicValue((context) =>
        loadSettings({
          ...sources,
          registry: context.get(TOKENS.registry),
          ...(settings === undefined ? {} : { overrides: settings }),
        }),
      )
      .inSingletonScope();
    bind(StorageManager)
      .toDynamicValue(async (context) => {
        const loaded = await context.getAsync(TOKENS.settings);
        return new StorageManager({
          registry: context.get(TOKENS.registry),
          settings: loaded,
          clock: context.get(TOKENS.clock),
        });
      })
      .inSingletonScope();
  });
}

/** A manager of its own, not yet open. @throws `CONFIGURATION` with every fault of the settings. */
export async function composeManager(options: StorageModuleOptions = {}): Promise<StorageManager> {
  const container = new Container();
  container.load(storageModule(options));
  return container.getAsync(StorageManager);
}
