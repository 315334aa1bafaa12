/** The provider's settings, under `vectors.pinecone`. */
import type { SettingsFragment } from '../../component.js';
import { StorageError } from '../../errors.js';
import { readRemoteOptions, remoteSettings, type RemoteOptions } from '../remote/settings.js';

const CONTROLLER = 'https://api.pinecone.io';
const CLOUDS = ['aws', 'gcp', 'azure'] as const;
const REGION = 'us-east-1';

export interface PineconeOptions extends RemoteOptions {
  readonly apiKey: string;
  /** Without a slash at its end. */
  readonly controllerHost: string;
  readonly cloud: (typeof CLOUDS)[number];
  readonly region: string;
}

export const settings: SettingsFragment = {
  apiKey: {
    doc: 'The key of the project.',
    format: 'string',
    default: null,
    sensitive: true,
    env: ['PINECONE_API_KEY'],
  },
  controllerHost: {
    doc: 'Where indexes are made and described.',
    format: 'string',
    default: CONTROLLER,
    env: ['PINECONE_CONTROLLER_HOST'],
  },
  cloud: { doc: 'The cloud that new indexes are made in.', format: CLOUDS, default: CLOUDS[0] },
  region: { doc: 'The region of that cloud.', format: 'string', default: REGION },
  ...remoteSettings,
};

type Given = Partial<Record<'apiKey' | 'controllerHost' | 'cloud' | 'region', unknown>>;

/** @throws `CONFIGURATION` for what cannot be a key or an address; never with what was given. */
export function readOptions(given: Readonly<Record<string, unknown>>, component: string): PineconeOptions {
  const { apiKey, controllerHost = CONTROLLER, cloud = CLOUDS[0], region = REGION } = given as Given;
  const fault = (key: string, expected: string): StorageError =>
    new StorageError('CONFIGURATION', `vectors.pinecone.${key}: expected ${expected}`, {
      component,
      operation: 'open',
      details: { key: `vectors.pinecone.${key}`, expected },
    });
  // What a header may carry; anything else is thrown by the client with the key in the message.
  if (typeof apiKey !== 'string' || !/^[\x21-\x7e]+$/.test(apiKey))
    throw fault('apiKey', "the project's key (or set PINECONE_API_KEY)");
  const url = typeof controllerHost === 'string' && URL.canParse(controllerHost) ? new URL(controllerHost) : undefined;
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isNear(url));
  if (url === undefined || !isSafe || url.username !== '' || url.password !== '')
    throw fault(
      'controllerHost',
      'a URL of https, or of http on this machine or under a name without dots, without a user and a password',
    );
  if (!CLOUDS.includes(cloud as PineconeOptions['cloud'])) throw fault('cloud', `one of ${CLOUDS.join(', ')}`);
  if (typeof region !== 'string' || region === '') throw fault('region', 'the name of a region');
  return {
    ...readRemoteOptions(given),
    apiKey,
    controllerHost: `${url.origin}${url.pathname}`.replace(/\/+$/, ''),
    cloud: cloud as PineconeOptions['cloud'],
    region,
  };
}

/** Whether it is this machine, or a name without dots, as a container beside it has: only there the key may go in clear. */
export function isNear({ hostname }: URL): boolean {
  return /^(?:[^.:]+|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}
