/** Small composable type guards: what arrives from another process is checked before it is believed. */

export type Guard<T> = (value: unknown) => value is T;

/** The type that a guard vouches for. */
export type Guarded<G> = G extends Guard<infer T> ? T : never;

/** A guard of an object, which also knows the names of its fields. */
export type Shape<T> = Guard<T> & { readonly keys: readonly string[] };

type Fields = Record<string, Guard<unknown>>;
type Values<F extends Fields> = { [K in keyof F]: Guarded<F[K]> };

export const text: Guard<string> = (value): value is string => typeof value === "string";
export const flag: Guard<boolean> = (value): value is boolean => typeof value === "boolean";
export const number: Guard<number> = (value): value is number => typeof value === "number";

export function nullable<T>(guard: Guard<T>): Guard<T | null> {
  return (value): value is T | null => value === null || guard(value);
}

export function oneOf<const T extends string>(...choices: readonly T[]): Guard<T> {
  return (value): value is T => choices.some((choice) => choice === value);
}

export function either<A, B>(one: Guard<A>, other: Guard<B>): Guard<A | B> {
  return (value): value is A | B => one(value) || other(value);
}

export function list<T>(item: Guard<T>): Guard<T[]> {
  return (value): value is T[] => Array.isArray(value) && value.every(item);
}

export function record<T>(item: Guard<T>): Guard<Record<string, T>> {
  return (value): value is Record<string, T> => isObject(value) && Object.values(value).every(item);
}

export const anything: Guard<unknown> = (value): value is unknown => value !== undefined;

/** Every field must be there and fit; fields that are not named are let through, so that a newer server may say more. */
export function shape<F extends Fields>(fields: F): Shape<Values<F>> {
  const guard = (value: unknown): value is Values<F> =>
    isObject(value) && Object.entries(fields).every(([key, fits]) => fits(value[key]));
  return Object.assign(guard, { keys: Object.keys(fields) });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
