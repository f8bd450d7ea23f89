/** Looking for a text where it must not be. */

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

/** The files below a folder that hold a text. */
export async function filesWith(folder: string, text: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  const hits = await Promise.all(paths.map(async (path) => (await readFile(path)).includes(text)));
  return paths.filter((_, index) => hits[index]);
}
