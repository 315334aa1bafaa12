/** Lines, tables and a progress bar on the terminal. */

export function heading(text: string): void {
  console.log(`\n${text}\n${'-'.repeat(text.length)}`);
}

export function table(columns: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  console.log(line(columns));
  for (const row of rows) console.log(line(row));
}

/** A bar that fills as it is told how many of `total` are done; where there is no terminal, its end alone. */
export function progressBar(name: string, total: number): (done: number) => void {
  const started = performance.now();
  return (done) => {
    const filled = Math.round((done / total) * 30);
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    const text = `${name}  ${'█'.repeat(filled)}${'░'.repeat(30 - filled)}  ${done}/${total}  ${seconds} s`;
    if (process.stdout.isTTY) process.stdout.write(`\r${text}${done >= total ? '\n' : ''}`);
    else if (done >= total) console.log(text);
  };
}

export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
