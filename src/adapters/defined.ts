/** Members that are `undefined` are not there: neither stored nor asked for. */
type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Without the members that are `undefined`: what is absent is not stored. */
export function defined<T extends object>(value: T): Defined<T> {
  const kept: Record<string, unknown> = {};
  for (const name of Object.keys(value)) {
    const member = value[name as keyof T];
    if (member !== undefined) kept[name] = member;
  }
  return kept as Defined<T>;
}
