/** Reads what source files import, and judges it by a table of rooms (`layers.test.ts` holds the table). */
import { posix } from 'node:path';
import ts from 'typescript';

/** `lazy`: by `import()`; `type`: erased by the compiler; `static`: everything else, re-exports included. */
export type Manner = 'static' | 'type' | 'lazy';

export interface Import {
  readonly specifier: string;
  readonly manner: Manner;
}

export interface Room {
  readonly name: string;
  /** Paths from `src` without `.ts`, each a file or a folder; `pools/*`: each file or folder in it. The first room that fits has the file. */
  readonly files: readonly string[];
  /** The rooms it may import; the errors and the room itself are always allowed. */
  readonly may: readonly string[] | 'everything';
  /** The rooms of which it may import types only. */
  readonly types?: readonly string[];
  /** The rooms it may import by `await import()` only. */
  readonly lazily?: readonly string[];
  /** Each file or folder stands alone: two of the room may not import each other, unless `types` names the room. */
  readonly apart?: true;
}

export interface PackageRule {
  readonly packages: readonly string[];
  /** The rooms that may import it; absent: all. */
  readonly rooms?: readonly string[];
  readonly manners: readonly Manner[];
}

/** Packages that no rule names are client libraries: of these rooms, each of one file or folder, in these manners. */
export type ClientRule = Required<Omit<PackageRule, 'packages'>>;

/** What a file imports, in the order of the text. An `import()` whose operand is no literal has the specifier `?`. */
export function readImports(path: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, manner: Manner): void => {
    found.push({ specifier: specifier && ts.isStringLiteralLike(specifier) ? specifier.text : '?', manner });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node))
      add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'type' : 'static');
    else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined)
      add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'static');
    else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference))
      add(node.moduleReference.expression, node.isTypeOnly ? 'type' : 'static');
    else if (ts.isImportTypeNode(node))
      add(ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, 'type');
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], 'lazy');
    else if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'require')
      add(node.arguments[0], 'static');
    ts.forEachChild(node, visit);
  };
  visit(parse(path, text));
  return found;
}

/** The lines at which a file reads the process's environment. */
export function readsEnvironment(path: string, text: string): number[] {
  const source = parse(path, text);
  const lines: number[] = [];
  const isProcess = (node: ts.Expression | undefined): boolean =>
    node !== undefined &&
    ((ts.isIdentifier(node) && node.text === 'process') ||
      (ts.isPropertyAccessExpression(node) && node.name.text === 'process'));
  const bindsEnv = (name: ts.BindingName): boolean =>
    ts.isObjectBindingPattern(name) &&
    name.elements.some(
      (element) => (element.propertyName ?? element.name).getText(source) === 'env' || element.dotDotDotToken,
    );
  const visit = (node: ts.Node): void => {
    const reads =
      (ts.isPropertyAccessExpression(node) && node.name.text === 'env' && isProcess(node.expression)) ||
      (ts.isElementAccessExpression(node) && isProcess(node.expression)) ||
      (ts.isVariableDeclaration(node) && isProcess(node.initializer) && bindsEnv(node.name)) ||
      (ts.isImportSpecifier(node) &&
        (node.propertyName ?? node.name).text === 'env' &&
        /^['"](node:)?process['"]$/.test(node.parent.parent.parent.moduleSpecifier.getText(source)));
    if (reads) lines.push(source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return lines;
}

function parse(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}

interface Place {
  readonly room: Room;
  /** The file or folder that stands alone where the room is `apart`: `pools/pglite`. */
  readonly unit: string;
}

/** The room of a file, by its path from `src`; `undefined` when no room has it. */
export function placeOf(path: string, rooms: readonly Room[]): Place | undefined {
  const bare = path.replace(/\.ts$/, '');
  for (const room of rooms)
    for (const pattern of room.files) {
      const unit = pattern.endsWith('/*') ? bare.split('/').slice(0, pattern.split('/').length).join('/') : pattern;
      const fits = pattern.endsWith('/*') ? bare.startsWith(pattern.slice(0, -1)) : isWithin(bare, pattern);
      if (fits) return { room, unit };
    }
  return undefined;
}

function isWithin(path: string, unit: string): boolean {
  return path === unit || path.startsWith(`${unit}/`);
}

/** The path from `src` that a relative specifier means. */
function target(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts');
}

const isRelative = (specifier: string): boolean => specifier.startsWith('.');

/** Every import that breaks the table, as a sentence that names the file, the import and the rule. */
export function brokenLayers(files: ReadonlyMap<string, string>, rooms: readonly Room[]): string[] {
  const broken: string[] = [];
  for (const [path, text] of files) {
    const from = placeOf(path, rooms);
    if (from === undefined) {
      broken.push(`src/${path} is in no room: give it a place in the table`);
      continue;
    }
    for (const { specifier, manner } of readImports(path, text)) {
      if (specifier === '?') broken.push(`src/${path} has an import() of an expression: name the module`);
      if (!isRelative(specifier)) continue;
      const to = placeOf(target(path, specifier), rooms);
      if (to === undefined) broken.push(`src/${path} imports ${specifier}, which is in no room`);
      else if (!mayImport(from, to, manner))
        broken.push(`src/${path} imports ${specifier} (${manner}, ${to.room.name}): ${ruleOf(from.room)}`);
    }
  }
  return broken;
}

function mayImport(from: Place, to: Place, manner: Manner): boolean {
  const { room } = from;
  if (room.may === 'everything' || to.room.name === 'errors') return true;
  if (room === to.room && (room.apart === undefined || from.unit === to.unit)) return true;
  return (
    room.may.includes(to.room.name) ||
    (manner === 'type' && (room.types ?? []).includes(to.room.name)) ||
    (manner === 'lazy' && (room.lazily ?? []).includes(to.room.name))
  );
}

function ruleOf({ name, may, types = [], lazily = [], apart }: Room): string {
  const parts = [
    `${name} may import ${may === 'everything' ? may : ['errors', ...may].join(', ')}`,
    ...(types.length > 0 ? [`types of ${types.join(', ')}`] : []),
    ...(lazily.length > 0 ? [`by import() ${lazily.join(', ')}`] : []),
    ...(apart ? ['never another of its kind'] : []),
  ];
  return parts.join('; ');
}

/** Every import of a package that breaks the rules. */
export function brokenPackages(
  files: ReadonlyMap<string, string>,
  rooms: readonly Room[],
  rules: readonly PackageRule[],
  clients: ClientRule,
): string[] {
  const broken: string[] = [];
  const owners = new Map<string, string>();
  for (const [path, text] of files)
    for (const { specifier, manner } of readImports(path, text)) {
      if (isRelative(specifier) || specifier === '?') continue;
      const from = placeOf(path, rooms);
      const rule = rules.find(({ packages }) => packages.some((name) => belongsTo(specifier, name)));
      const { rooms: allowed, manners } = rule ?? clients;
      if (allowed !== undefined && !allowed.includes(from?.room.name ?? ''))
        broken.push(`src/${path} imports ${specifier}: only ${allowed.join(', ')} may`);
      else if (!manners.includes(manner))
        broken.push(`src/${path} imports ${specifier} (${manner}): only ${manners.join(' or ')}`);
      if (rule !== undefined || from === undefined) continue;
      const library = specifier.split('/')[0]!;
      const owner = owners.get(library) ?? from.unit;
      owners.set(library, owner);
      if (owner !== from.unit)
        broken.push(`src/${path} imports ${specifier}: one file or folder owns a client library, here src/${owner}`);
    }
  return broken;
}

function belongsTo(specifier: string, name: string): boolean {
  return name.endsWith(':') ? specifier.startsWith(name) : isWithin(specifier, name);
}

/** Each circle of imports once, as the path around it. All manners count. */
export function importCycles(files: ReadonlyMap<string, string>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const walk = (path: string): void => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push([...trail.slice(start), path].map((file) => `src/${file}`).join(' -> '));
    const text = files.get(path);
    if (start >= 0 || done.has(path) || text === undefined) return;
    trail.push(path);
    for (const { specifier } of readImports(path, text)) if (isRelative(specifier)) walk(target(path, specifier));
    trail.pop();
    done.add(path);
  };
  for (const path of files.keys()) walk(path);
  return cycles;
}
