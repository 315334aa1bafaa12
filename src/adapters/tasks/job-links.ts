/** The jobs that tasks are linked to, as the store of jobs keeps them. */
import type { StoredRecord } from '../../collection/record-codec.js';
import type { CallOptions } from '../../component.js';
import { LINKS, type LinkValue } from '../jobs/records.js';
import type { StoreHost } from '../host.js';

export type JobLinkRecord = StoredRecord<LinkValue>;

/** As many links of a job are followed, the first made first. */
const MOST = 1_000;
/** Tasks that one filter names. */
const AT_ONCE = 500;

/** The tasks that a job is linked to, wherever the jobs live. */
export async function tasksOfJob(host: StoreHost, jobId: string, options: CallOptions): Promise<string[]> {
  const sort = { createdAt: 'asc' } as const;
  const page = await host.collection('jobs', LINKS).query({ jobId }, { ...options, sort, limit: MOST });
  return page.items.map(({ value }) => value.taskId);
}

/** The links of these tasks, no more than one above `most`; none where the jobs live elsewhere: theirs stay. */
export async function jobLinksOf(host: StoreHost, ids: readonly string[], most: number): Promise<JobLinkRecord[]> {
  const found: JobLinkRecord[] = [];
  if (!host.isWith('jobs')) return found;
  const links = host.collection('jobs', LINKS);
  for (let i = 0; i < ids.length; i += AT_ONCE)
    for await (const link of links.each({ taskId: { $in: ids.slice(i, i + AT_ONCE) } }))
      if (found.push(link) > most) return found;
  return found;
}

/** Those that `jobLinksOf` gives. @returns how many there were */
export async function deleteJobLinks(host: StoreHost, ids: readonly string[], options: CallOptions): Promise<number> {
  if (!host.isWith('jobs')) return 0;
  return host.collection('jobs', LINKS).deleteWhere({ taskId: { $in: [...ids] } }, options);
}
