/** What happens between two steps of ours, made to happen. */

type Method = (...given: never[]) => unknown;

/** Does `work` before the first call of a method of `target` for which `isIt` holds; the calls themselves stay as they are. */
export function beforeCall<Name extends string, Target extends { readonly [N in Name]: Method }>(
  target: Target,
  name: Name,
  work: () => Promise<unknown>,
  isIt: (...given: Parameters<Target[Name]>) => boolean = () => true,
): void {
  const methods = target as unknown as Record<string, (...given: unknown[]) => unknown>;
  const own = methods[name]!;
  methods[name] = async function (...given) {
    if (methods[name] === own || !isIt(...(given as Parameters<Target[Name]>))) return own.apply(this, given);
    methods[name] = own;
    await work();
    return own.apply(this, given);
  };
}
