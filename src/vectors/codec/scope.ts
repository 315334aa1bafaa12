/** The tenant of a host that has none: all that is in its unnamed namespace is, as a rule, all that there is. */
export const DEFAULT_TENANT = 'default';
