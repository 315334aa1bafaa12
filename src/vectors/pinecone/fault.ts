/** What the service, the network and the client answer with, as the library's own errors. */
import {
  ConflictError,
  foreignErrorName,
  isStorageError,
  NotFoundError,
  StorageError,
  type StorageErrorOptions,
  UnavailableError,
  UnsupportedError,
  ValidationError,
} from '../../errors.js';
import type { RemoteFailure } from '../remote/call.js';

/** An answer that is none. Its property is not named `status`: the client drops errors with such a one above 499. */
export class PineconeFault extends Error {
  constructor(
    /** `undefined`: the status says that all is well, the body does not. */
    readonly httpStatus: number | undefined,
    /** The service's own words; absent where something before it has answered. */
    readonly said: string | undefined,
    readonly retryAfter?: number,
  ) {
    super(said ?? `HTTP ${httpStatus ?? 200}`);
  }

  override get name(): string {
    return 'PineconeFault';
  }
}

/** What one attempt failed with: every call may be made again, for made twice it does what it does once. */
export function classify(error: unknown, component: string, operation: string): RemoteFailure {
  if (isStorageError(error)) return { error, retry: false };
  const fault = causeOf(error, (cause) => cause instanceof PineconeFault);
  if (fault instanceof PineconeFault) return classifyFault(fault, component, operation);
  const name = foreignErrorName(error);
  // What the client itself refuses: our mistake, not the service's.
  if (/^Pinecone(?:Argument|Configuration)Error$/.test(name))
    return {
      error: new StorageError('INTERNAL', `The client refused the request (${name})`, {
        component,
        operation,
        cause: error,
      }),
      retry: false,
    };
  const cause = causeOf(error, (inner) => typeof (inner as { code?: unknown }).code === 'string') ?? error;
  return {
    error: new UnavailableError(`Pinecone cannot be reached, or its answer broke off (${foreignErrorName(cause)})`, {
      component,
      operation,
      cause,
    }),
    retry: true,
  };
}

function causeOf(error: unknown, is: (cause: object) => boolean): unknown {
  let cause = error;
  for (let depth = 0; depth < 8 && typeof cause === 'object' && cause !== null; depth++) {
    if (is(cause)) return cause;
    cause = (cause as { cause?: unknown }).cause;
  }
  return undefined;
}

function classifyFault(fault: PineconeFault, component: string, operation: string): RemoteFailure {
  const { httpStatus: status, said, retryAfter } = fault;
  const reason = [status, said].filter((part) => part !== undefined).join(', ');
  const options: StorageErrorOptions = {
    component,
    operation,
    details: { ...(status === undefined ? {} : { status }), ...(retryAfter === undefined ? {} : { retryAfter }) },
    cause: fault,
  };
  const final = (error: StorageError): RemoteFailure => ({ error, retry: false });
  const passing = (message: string): RemoteFailure => ({
    error: new UnavailableError(message, options),
    retry: true,
    retryAfter,
  });
  switch (status) {
    case undefined:
      return passing('What answers is not Pinecone: its answer is not JSON');
    case 400:
    case 413:
    case 422:
      return final(new ValidationError('VALIDATION', `Pinecone refused the request (${reason})`, options));
    case 401:
    case 402:
    case 403:
      return final(new StorageError('UNAUTHORIZED', `Pinecone does not allow it with this key (${reason})`, options));
    case 404:
      if (said !== undefined) return final(new NotFoundError(`Pinecone does not have it (${reason})`, options));
      return passing(`What answers is not Pinecone (${reason})`);
    case 409:
      return final(new ConflictError('ALREADY_EXISTS', `Pinecone has it already (${reason})`, options));
    case 412:
      return final(new ConflictError('CONFLICT', `Pinecone cannot do that now (${reason})`, options));
    case 501:
      return final(new UnsupportedError(`Pinecone cannot do that (${reason})`, options));
    default:
      if (status < 400)
        return final(new StorageError('CONFIGURATION', `The address of Pinecone leads elsewhere (${reason})`, options));
      if (status >= 500 || status === 408 || status === 425 || status === 429)
        return passing(`Pinecone cannot answer now (${reason})`);
      return final(new StorageError('INTERNAL', `Pinecone refused the request (${reason})`, options));
  }
}

/** The service's own words of an error, where it has some. */
export function saidBy(error: unknown): string | undefined {
  const cause = isStorageError(error) ? error.cause : undefined;
  return cause instanceof PineconeFault ? cause.said : undefined;
}
