/**
 * Checks requests and answers against an OpenAPI description, strictly: a keyword that is not known here is an error, and
 * so is a property that the description does not name.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { PROJECT } from '../project.js';

type Json = Record<string, unknown>;

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly required?: boolean;
  readonly schema: Json;
}

interface OperationObject {
  readonly operationId: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Record<string, { schema: Json }>; readonly required?: boolean };
  readonly responses: Record<string, { readonly content?: Record<string, { schema: Json }> }>;
}

interface Document {
  readonly paths: Record<string, Record<string, OperationObject>>;
  readonly components: { readonly schemas: Record<string, Json> };
}

export interface Operation {
  readonly id: string;
  readonly path: Readonly<Record<string, string>>;
  readonly object: OperationObject;
}

export interface GivenRequest {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly query: URLSearchParams;
  /** `undefined`: none. */
  readonly body: unknown;
}

/** Notes, and what is checked below. */
const KEYWORDS = new Set([
  ...['description', 'title', 'example', 'default', 'deprecated', 'x-component-name', 'discriminator'],
  ...['type', 'properties', 'required', 'additionalProperties', 'items', 'oneOf', '$ref', 'x-enum', 'format'],
  ...['minimum', 'maximum', 'minLength', 'maxLength'],
]);
const INTEGERS: Readonly<Record<string, number>> = { int32: 2 ** 31 - 1, int64: Number.MAX_SAFE_INTEGER };

export class OpenApi {
  private constructor(private readonly document: Document) {}

  static read(name: string): OpenApi {
    const file = join(PROJECT, 'test', 'support', 'pinecone', 'openapi', name);
    return new OpenApi(parse(readFileSync(file, 'utf8')) as Document);
  }

  /** The operation that a request means. */
  find(method: string, pathname: string): Operation | undefined {
    for (const [template, methods] of Object.entries(this.document.paths)) {
      const object = methods[method.toLowerCase()];
      const names = [...template.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
      const found = new RegExp(`^${template.replace(/\{\w+\}/g, '([^/]+)')}$`).exec(pathname);
      if (object === undefined || found === null) continue;
      const path = Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(found[i + 1]!)]));
      return { id: object.operationId, path, object };
    }
    return undefined;
  }

  checkRequest({ object, path }: Operation, { headers, query, body }: GivenRequest): string[] {
    const faults: string[] = [];
    const parameters = object.parameters ?? [];
    for (const { in: place, name, required, schema } of parameters) {
      const values = { query: query.getAll(name), path: [path[name]], header: [headers[name.toLowerCase()]] }[place];
      const given = (values ?? []).filter((value) => value !== undefined);
      if (given.length === 0 && required === true) faults.push(`the ${place} parameter ${name} is missing`);
      const isList = schema['type'] === 'array';
      const read = (text: unknown): unknown => (schema['type'] === 'integer' ? Number(text) : text);
      if (given.length > 1 && !isList) faults.push(`the ${place} parameter ${name} is there ${given.length} times`);
      if (given.length > 0) this.check(isList ? given : read(given[0]), schema, name, faults);
    }
    for (const name of query.keys())
      if (!parameters.some((known) => known.in === 'query' && known.name === name))
        faults.push(`the query parameter ${name} is not known`);
    const schema = object.requestBody?.content['application/json']?.schema;
    if (schema !== undefined && body !== undefined) this.check(body, schema, 'body', faults);
    else if (schema !== undefined || body !== undefined) faults.push('the body is missing, or none is expected');
    return faults;
  }

  checkResponse({ object, id }: Operation, status: number, body: unknown): string[] {
    const kind = `${Math.floor(status / 100)}XX`;
    const response = object.responses[status] ?? object.responses[kind];
    if (response === undefined) return [`${id} has no answer ${status}`];
    const schema = response.content?.['application/json']?.schema;
    if (schema === undefined) return body === undefined ? [] : [`${id} answers ${status} without a body`];
    const faults: string[] = [];
    this.check(body, schema, `${id} ${status}`, faults);
    return faults;
  }

  private check(value: unknown, given: Json, at: string, faults: string[]): void {
    const schema = this.resolve(given);
    for (const keyword of Object.keys(schema))
      if (!KEYWORDS.has(keyword)) throw new Error(`The keyword ${keyword} of the description is not known here`);
    const { type, oneOf, format } = schema as { type?: string; oneOf?: Json[]; format?: string };
    const fault = (expected: string): void => void faults.push(`${at}: expected ${expected}, got ${shown(value)}`);
    if (oneOf !== undefined) {
      const matching = oneOf.filter((one) => {
        const inner: string[] = [];
        this.check(value, one, at, inner);
        return inner.length === 0;
      });
      if (matching.length !== 1) fault(`one of ${oneOf.length} forms (${matching.length} fit)`);
      return;
    }
    const options = schema['x-enum'] as unknown[] | undefined;
    if (options !== undefined && !options.includes(value)) fault(`one of ${options.join(', ')}`);
    switch (type) {
      case 'string':
        if (typeof value !== 'string') return fault('a string');
        if (format === 'date-time' && Number.isNaN(Date.parse(value))) fault('a date');
        return this.checkSize(value.length, schema, at, faults);
      case 'boolean':
        return typeof value === 'boolean' ? undefined : fault('a boolean');
      case 'integer':
        if (!Number.isInteger(value) || Math.abs(value as number) > (INTEGERS[format ?? 'int64'] ?? 0))
          return fault(`an integer (${format ?? 'any'})`);
        return this.checkRange(value as number, schema, fault);
      case 'number':
        if (typeof value !== 'number' || (format === 'float' && !Number.isFinite(Math.fround(value))))
          return fault('a number');
        return this.checkRange(value, schema, fault);
      case 'array':
        if (!Array.isArray(value)) return fault('an array');
        // The description says lengths of arrays by the keywords of strings.
        this.checkSize(value.length, schema, at, faults);
        value.forEach((item, i) => this.check(item, schema['items'] as Json, `${at}[${i}]`, faults));
        return;
      case 'object':
        return this.checkObject(value, schema, at, faults);
      default:
        throw new Error(`${at}: the description's type ${String(type)} is not known here`);
    }
  }

  private checkObject(value: unknown, schema: Json, at: string, faults: string[]): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      faults.push(`${at}: expected an object, got ${shown(value)}`);
      return;
    }
    const { properties, additionalProperties: more } = schema as { properties?: Json; additionalProperties?: Json };
    for (const name of (schema['required'] as string[] | undefined) ?? [])
      if (!Object.hasOwn(value, name)) faults.push(`${at}.${name} is missing`);
    for (const [name, item] of Object.entries(value)) {
      const known = properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined;
      if (known !== undefined) this.check(item, known as Json, `${at}.${name}`, faults);
      else if (typeof more === 'object') this.check(item, more, `${at}.${name}`, faults);
      // An object that names no properties is free: filters and metadata.
      else if (properties !== undefined) faults.push(`${at}.${name} is not known`);
    }
  }

  private checkSize(size: number, schema: Json, at: string, faults: string[]): void {
    const { minLength = 0, maxLength = Infinity } = schema as { minLength?: number; maxLength?: number };
    if (size < minLength || size > maxLength) faults.push(`${at}: expected a length of ${minLength} to ${maxLength}`);
  }

  private checkRange(value: number, schema: Json, fault: (expected: string) => void): void {
    const { minimum = -Infinity, maximum = Infinity } = schema as { minimum?: number; maximum?: number };
    if (value < minimum || value > maximum) fault(`${minimum} to ${maximum}`);
  }

  private resolve(schema: Json): Json {
    const reference = schema['$ref'];
    if (typeof reference !== 'string') return schema;
    const found = this.document.components.schemas[reference.replace('#/components/schemas/', '')];
    if (found === undefined) throw new Error(`The description has no ${reference}`);
    return found;
  }
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 60);
}
