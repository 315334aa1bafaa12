/** URLs of which every reader makes the same: some drop a line's end that others take for a part of a name. */

export const CLEAN_URL = 'a URL without spaces around it, line ends and other control characters';

/** Whether the setting at the path is the URL of a database or of a vector provider. */
export function isUrlPath(path: string): boolean {
  return /^(?:databases|vectors)\.[^.]+\.url$/.test(path);
}

export function isUnclean(url: string): boolean {
  return url !== url.trim() || /[\0-\x1f\x7f]/.test(url);
}
