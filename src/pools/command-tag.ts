/** The tag of a command that PostgreSQL has completed: `INSERT 0 5`, `UPDATE 3`. */

/** A SELECT changes nothing. */
export function affectedRows(tag: string): number {
  if (tag.startsWith('SELECT')) return 0;
  const count = Number(tag.slice(tag.lastIndexOf(' ') + 1));
  return count > 0 ? count : 0;
}
