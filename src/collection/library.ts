/** Whose the library's own records are. */
import type { TenantScope } from '../backends/backend.js';

/** The reserved tenant, which no host can name. */
export const LIBRARY: TenantScope = { tenant: 'quartermaster' };
