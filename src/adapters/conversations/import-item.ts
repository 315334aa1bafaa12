/** One record of an import, as it was read from its line. */
export interface Item {
  readonly kind: string;
  readonly line: number;
  readonly id: string;
  readonly createdAt: Date;
  readonly expiresAt?: Date | undefined;
  readonly value: Record<string, unknown>;
}

export function keyOf({ kind, id }: Pick<Item, 'kind' | 'id'>): string {
  return `${kind} ${id}`;
}
