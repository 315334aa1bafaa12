/** A step's SQL runs in a transaction of the library's: a text that would end it is refused before it runs. */

/** Comments and quoted texts, whose words and semicolons mean nothing here. */
const QUOTED = /--[^\n]*|\/\*[^]*?\*\/|\b[eE]'(?:[^'\\]|\\[^]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$)[^]*?\1/g;
const CONTROL = /^(?:begin|start\s+transaction|commit|abort|prepare\s+transaction|rollback(?!\s+(?:\w+\s+)?to\b))\b/i;
/** The bodies of triggers and functions may have statements of their own, and then an `END`. */
const BODY = /\bbegin\s+atomic\b|\bcreate\s+(?:temp(?:orary)?\s+)?trigger\b/i;

/** The first word of a statement that begins or ends a transaction; `undefined` where there is none. */
export function controlStatement(sql: string): string | undefined {
  const bare = sql.replace(QUOTED, ' ');
  const ends = BODY.test(bare) ? undefined : /^end\b/i;
  for (const statement of bare.split(';').map((text) => text.trim())) {
    const found = CONTROL.exec(statement) ?? ends?.exec(statement);
    if (found) return found[0].split(/\s/)[0]!.toUpperCase();
  }
  return undefined;
}
