/** Indexes: made, described, listed, changed and deleted, each of which takes its time. */
import { Refusal } from './filter.js';
import type { StandInOptions } from './stand-in.js';
import type { IndexState } from './state.js';

export interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

interface CreateRequest {
  readonly name: string;
  readonly dimension?: number;
  readonly metric?: string;
  readonly vector_type?: string;
  readonly tags?: Record<string, string>;
  readonly deletion_protection?: string;
  readonly spec: { readonly serverless?: { readonly cloud: string; readonly region: string } };
}

export class ControlPlane {
  readonly indexes = new Map<string, IndexState>();

  constructor(
    private readonly options: StandInOptions,
    private readonly hostOf: (name: string) => string,
  ) {}

  handle(operation: string, path: Readonly<Record<string, string>>, body: unknown): Reply {
    switch (operation) {
      case 'list_indexes':
        return { status: 200, body: { indexes: [...this.indexes.values()].map((index) => this.model(index)) } };
      case 'create_index':
        return { status: 201, body: this.create(body as CreateRequest) };
      case 'describe_index':
        return { status: 200, body: this.describe(path['index_name']!) };
      case 'configure_index':
        return { status: 202, body: this.configure(path['index_name']!, body as Partial<CreateRequest>) };
      case 'delete_index':
        this.delete(path['index_name']!);
        return { status: 202 };
      default:
        throw new Error(`The stand-in has no ${operation}`);
    }
  }

  private create({ name, dimension, vector_type: type = 'dense', tags = {}, spec, ...rest }: CreateRequest): object {
    const { metric = type === 'sparse' ? 'dotproduct' : 'cosine' } = rest;
    if (!/^[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?$/.test(name))
      throw new Refusal(
        400,
        'Name must consist of lower case alphanumeric characters or -, and must start and end with an alphanumeric character',
      );
    if (this.indexes.has(name)) throw new Refusal(409, 'Resource already exists.');
    if (type === 'dense' && dimension === undefined) throw new Refusal(400, 'Dense indexes must have a dimension');
    if (type === 'sparse' && dimension !== undefined) throw new Refusal(400, 'Sparse indexes have no dimension');
    if (type === 'sparse' && metric !== 'dotproduct')
      throw new Refusal(400, 'Sparse indexes have the metric dotproduct');
    if (spec.serverless === undefined) throw new Refusal(400, 'The stand-in has serverless indexes only');
    const { cloud, region } = spec.serverless;
    if (region !== 'us-east-1') throw new Refusal(404, `Resource cloud: ${cloud} region: ${region} not found.`);
    if (this.indexes.size >= this.options.maxIndexes)
      throw new Refusal(403, 'Increase your quota or upgrade to create more indexes.');
    checkTags(tags);
    const index: IndexState = {
      ...{ name, dimension, metric, cloud, region, tags: { ...tags } },
      deletionProtection: rest.deletion_protection ?? 'disabled',
      unready: this.options.unready,
      terminating: undefined,
      namespaces: new Map(),
    };
    this.indexes.set(name, index);
    return this.model(index);
  }

  private describe(name: string): object {
    const index = this.find(name);
    const model = this.model(index);
    if (index.unready > 0) index.unready--;
    if (index.terminating !== undefined && index.terminating-- <= 0) this.indexes.delete(name);
    return model;
  }

  private configure(name: string, { tags = {}, deletion_protection: protection }: Partial<CreateRequest>): object {
    const index = this.find(name);
    checkTags(tags);
    index.tags = Object.fromEntries(Object.entries({ ...index.tags, ...tags }).filter(([, value]) => value !== ''));
    if (protection !== undefined) index.deletionProtection = protection;
    return this.model(index);
  }

  private delete(name: string): void {
    const index = this.find(name);
    if (index.deletionProtection === 'enabled')
      throw new Refusal(
        403,
        'Deletion protection is enabled for this index. Disable deletion protection before retrying.',
      );
    index.terminating ??= this.options.terminating;
    if (index.terminating === 0) this.indexes.delete(name);
  }

  private find(name: string): IndexState {
    const index = this.indexes.get(name);
    if (index === undefined) throw new Refusal(404, `Index ${name} not found.`);
    return index;
  }

  private model(index: IndexState): object {
    const { name, dimension, metric, cloud, region, tags, deletionProtection, unready, terminating } = index;
    const ready = unready === 0 && terminating === undefined;
    return {
      ...{ name, metric, tags, deletion_protection: deletionProtection },
      ...(dimension === undefined ? { vector_type: 'sparse' } : { vector_type: 'dense', dimension }),
      host: this.hostOf(name),
      spec: { serverless: { cloud, region, read_capacity: { mode: 'OnDemand', status: { state: 'Ready' } } } },
      status: { ready, state: terminating !== undefined ? 'Terminating' : ready ? 'Ready' : 'Initializing' },
    };
  }
}

function checkTags(tags: Readonly<Record<string, string>>): void {
  const entries = Object.entries(tags);
  if (entries.length > 20) throw new Refusal(400, 'An index has at most 20 tags');
  for (const [key, value] of entries)
    if (!/^[\w-]{1,80}$/.test(key) || !/^[\w;@.+ -]{0,120}$/.test(value)) throw new Refusal(400, `Invalid tag ${key}`);
}
