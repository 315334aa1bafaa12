/** The collection that most tests of the record suite run on. */
import { isStorageError, type ErrorCode } from '../errors.js';
import { defineCollection } from '../collection/definition.js';

export interface Order {
  status: string;
  total?: number | null;
  dueAt?: Date | null;
  code?: string | null;
  note?: string;
  tags?: string[];
  nested?: { deep?: { count?: number } };
}

export const Orders = defineCollection<Order>({
  name: 'test_orders',
  fields: { status: 'string', total: 'number', dueAt: 'date', code: 'string' },
  indexes: [{ keys: ['status', 'dueAt'] }],
  unique: [{ name: 'byCode', fields: ['code'] }],
  text: ['note'],
});

export const refusedWith =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isStorageError(error, code);
