/** What the server, the network and the client answer with, as the library's own errors. */
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

/** An answer that is none: an HTTP status, or a body that is not the server's. */
export class ChromaFault extends Error {
  constructor(
    /** `undefined`: the status says that all is well, the body does not. */
    readonly status: number | undefined,
    /** The name of the server's error, `NotFoundError`; absent where something before the server has answered. */
    readonly error: string | undefined,
    message: string,
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/**
 * Whether the server says that what the path names is not there; a proxy's 404 does not say that. Of a collection that is
 * being deleted, what it is made of goes before it.
 */
function isMissing({ status, error, message }: ChromaFault): boolean {
  if (status === 412) return error !== undefined && /missing \w+ segment/i.test(message);
  return status === 404 && error === 'NotFoundError';
}

/**
 * What a failed attempt means. Every call of the provider may be made again: writes are upserts or deletions.
 * @param server its host and port.
 */
export function classify(error: unknown, component: string, operation: string, server: string): RemoteFailure {
  if (isStorageError(error)) return { error, retry: false };
  if (error instanceof ChromaFault) return classifyFault(error, component, operation);
  const name = foreignErrorName(error);
  // What the client refuses before it sends anything was built here, from checked values.
  if (/^Chroma/.test(name) || /^Invalid(Argument|Collection)Error$/.test(name))
    return {
      error: new StorageError('INTERNAL', `The client of Chroma refused the request (${name})`, {
        component,
        operation,
        cause: error,
      }),
      retry: false,
    };
  // `fetch` says what happened in its cause: `ECONNREFUSED`, `UND_ERR_SOCKET`.
  const cause = (error as { readonly cause?: unknown } | undefined)?.cause ?? error;
  if ((cause as { readonly message?: unknown } | undefined)?.message === 'bad port')
    return {
      error: new StorageError('CONFIGURATION', `The Chroma server at ${server}: fetch refuses to ask this port`, {
        component,
        operation,
        cause: error,
      }),
      retry: false,
    };
  const reason = foreignErrorName(cause);
  const message = `The Chroma server at ${server} cannot be reached, or broke its answer off (${reason})`;
  return {
    error: new UnavailableError(message, { component, operation, details: { reason, server }, cause: error }),
    retry: true,
  };
}

function classifyFault(fault: ChromaFault, component: string, operation: string): RemoteFailure {
  const { status, error: serverError, retryAfter } = fault;
  const said = [status, serverError].filter((part) => part !== undefined).join(', ');
  const options: StorageErrorOptions = {
    component,
    operation,
    details: {
      ...(status === undefined ? {} : { status }),
      ...(serverError === undefined ? {} : { serverError }),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    },
    cause: fault,
  };
  const final = (error: StorageError): RemoteFailure => ({ error, retry: false });
  const passing = (message: string): RemoteFailure => ({
    error: new UnavailableError(message, options),
    retry: true,
    retryAfter,
  });
  if (isMissing(fault)) return final(new NotFoundError('The Chroma server does not have it', options));
  switch (status) {
    case undefined:
      return passing(`What answers is not a Chroma server: ${fault.message}`);
    case 401:
    case 403:
      return final(new StorageError('UNAUTHORIZED', `The Chroma server refused the token (${said})`, options));
    case 404:
      return passing(`What answers is not a Chroma server (${said})`);
    case 409:
      return final(new ConflictError('ALREADY_EXISTS', 'The Chroma server has it already', options));
    case 400:
    case 413:
    case 422:
      return final(new ValidationError('VALIDATION', `The Chroma server refused the request (${said})`, options));
    case 501:
      return final(new UnsupportedError(`The Chroma server cannot do that (${said})`, options));
    default:
      if (status < 400)
        return final(
          new StorageError('CONFIGURATION', `The URL of the Chroma server leads elsewhere (${said})`, options),
        );
      if (status >= 500 || status === 408 || status === 425 || status === 429)
        return passing(`The Chroma server cannot answer now (${said})`);
      return final(new StorageError('INTERNAL', `The Chroma server refused the request (${said})`, options));
  }
}
