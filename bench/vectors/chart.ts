/** A chart of lines as SVG, on a ground of its own in light and in dark, so that it can be read on any page. */

export interface Point {
  readonly x: number;
  /** Up to 1. */
  readonly y: number;
  readonly label: string;
}

export interface Line {
  readonly name: string;
  readonly note: string;
  readonly points: readonly Point[];
}

const WIDTH = 760;
const HEIGHT = 400;
const LEFT = 64;
const RIGHT = 540;
const TOP = 40;
const BOTTOM = 340;
/** Light and dark; every line has a mark of its own too. */
const COLOURS = [
  ['#0550ae', '#79b8ff'],
  ['#9a5b00', '#ffb454'],
  ['#0a7d5c', '#56d4a5'],
  ['#a3278f', '#f28bdd'],
  ['#57606a', '#b1bac4'],
] as const;
const MARKS = [
  'M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0',
  'M-4-4h8v8h-8z',
  'M0-5L5 4H-5z',
  'M0-5L5 0L0 5L-5 0z',
  'M-5-4H5L0 5z',
];

/** The first line's points are labelled. */
export function draw(lines: readonly Line[], titles: Readonly<Record<'x' | 'y' | 'label', string>>): string {
  const points = lines.flatMap((line) => line.points);
  const ticks = ticksOf(points.map(({ x }) => x));
  const [from, to] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)];
  const least = Math.min(0.95, Math.floor(Math.min(...points.map(({ y }) => y)) * 20) / 20);
  const atX = (x: number): number => round(LEFT + ((Math.log(x) - from) / (to - from)) * (RIGHT - LEFT));
  const atY = (y: number): number => round(BOTTOM - ((y - least) / (1 - least)) * (BOTTOM - TOP));
  const grid = [
    ...[0, 0.2, 0.4, 0.6, 0.8, 1]
      .map((part) => least + part * (1 - least))
      .map(
        (y) =>
          `<path class="grid" d="M${LEFT} ${atY(y)}H${RIGHT}"/>` +
          `<text x="${LEFT - 8}" y="${atY(y) + 4}" text-anchor="end">${y.toFixed(2)}</text>`,
      ),
    ...ticks.map(
      (x) =>
        `<path class="grid" d="M${atX(x)} ${TOP}V${BOTTOM}"/>` +
        `<text x="${atX(x)}" y="${BOTTOM + 18}" text-anchor="middle">${x.toLocaleString('en')}</text>`,
    ),
  ];
  const drawn = lines.map((line, i) => {
    const at = line.points.map(({ x, y }) => [atX(x), atY(y)] as const);
    const y = TOP + 12 + i * 44;
    return [
      `<g class="c${i}"><path class="line" d="M${at.map((point) => point.join(' ')).join('L')}"/>`,
      ...at.map((point) => `<path class="mark" transform="translate(${point.join(' ')})" d="${MARKS[i]!}"/>`),
      `<path class="mark" transform="translate(${RIGHT + 26} ${y - 4})" d="${MARKS[i]!}"/></g>`,
      `<text x="${RIGHT + 40}" y="${y}">${escaped(line.name)}</text>`,
      `<text class="note" x="${RIGHT + 40}" y="${y + 16}">${escaped(line.note)}</text>`,
    ].join('\n');
  });
  const labels = lines[0]!.points.map(
    ({ x, y, label }, i) =>
      `<text class="note" x="${atX(x) + 7}" y="${atY(y) - 8}">${i === 0 ? `${titles.label} ` : ''}${label}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${titles.y} against ${titles.x}">`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${HEIGHT}" rx="8"/>`,
    ...grid,
    `<text x="${LEFT - 40}" y="${TOP - 16}">${titles.y}</text>`,
    `<text x="${(LEFT + RIGHT) / 2}" y="${BOTTOM + 42}" text-anchor="middle">${titles.x}</text>`,
    ...drawn,
    ...labels,
    '</svg>\n',
  ].join('\n');
}

const coloured = (shade: 0 | 1): string =>
  COLOURS.map((colours, i) => `.c${i}{stroke:${colours[shade]};fill:${colours[shade]}}`).join('');

const STYLE =
  'text{font:13px system-ui,sans-serif;fill:#1f2328}.note{font-size:11px;fill:#57606a}.ground{fill:#fff;stroke:#d0d7de}' +
  `.grid{stroke:#eaeef2}.line{fill:none;stroke-width:2}.mark{stroke:none}${coloured(0)}` +
  '@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9da7b1}.ground{fill:#0d1117;stroke:#30363d}' +
  `.grid{stroke:#21262d}${coloured(1)}}`;

/** Powers of ten, and twice and five times them, around the values: the axis is a logarithm's. */
function ticksOf(values: readonly number[]): number[] {
  const all = [1, 10, 100, 1_000, 10_000, 100_000].flatMap((power) => [power, 2 * power, 5 * power]);
  const first = all.findLastIndex((tick) => tick <= Math.min(...values));
  const last = all.findIndex((tick) => tick >= Math.max(...values));
  return all.slice(first, last + 1);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
