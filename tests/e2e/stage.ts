/** What every test needs around it: a project, a teacher, a dataset of its own, a workbench; all gone afterwards. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { PYTHON, extensionFile } from "./programs.ts";
import { type Replies, startTeacher, type Teacher } from "./teacher.ts";
import { Workbench } from "./workbench.ts";

export interface Play {
  /** Names the screenshots. */
  readonly name: string;
  /** The files of the project: name to text. */
  readonly files: Readonly<Record<string, string>>;
  readonly replies: Replies;
  /** Makes what the test needs before the editor opens, and says which settings follow from it. */
  readonly prepare?: (backstage: Backstage) => Promise<Readonly<Record<string, unknown>>>;
}

export interface Backstage {
  /** A folder that lasts as long as the test. */
  readonly folder: string;
  /** Where the dataset will be. */
  readonly database: string;
  /** The scripted teacher, as in the setting `precisionShaking.teachers`. */
  readonly teacher: string;
}

export interface Stage {
  readonly workbench: Workbench;
  readonly teacher: Teacher;
  /** Where the package keeps what is its own. */
  readonly home: string;
  /** The dataset's file. */
  readonly database: string;
  saved(file: string): Promise<string>;
  photograph(moment: string): Promise<void>;
}

/** Prepares everything, lets `act` use the workbench, and checks that no process outlives the editor. */
export async function perform(play: Play, act: (stage: Stage) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "precision-shaking-"));
  const project = join(folder, "project");
  const home = join(folder, "home");
  const database = join(home, "dataset.db");
  await mkdir(project);
  await mkdir(home);
  for (const [name, text] of Object.entries(play.files)) await writeFile(join(project, name), text);
  const teacher = await startTeacher(folder, play.replies);
  try {
    const settings = await play.prepare?.({ folder, database, teacher: teacher.name });
    const workbench = await Workbench.open({
      vsix: extensionFile(),
      folder: project,
      settings: {
        "precisionShaking.interpreter": [PYTHON],
        "precisionShaking.teachers": [teacher.name],
        ...settings,
      },
      env: { PRECISION_SHAKING_HOME: home },
    });
    const stage: Stage = {
      workbench,
      teacher,
      home,
      database,
      saved: (file) => readFile(join(project, file), "utf8"),
      photograph: (moment) => workbench.screenshot(`${play.name}-${moment}`),
    };
    // Until then the palette does not know the extension's commands.
    await workbench.page.getByRole("tab", { name: "Precision Shaking" }).waitFor();
    await attempt(stage, act);
  } finally {
    await teacher.child.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function attempt(stage: Stage, act: (stage: Stage) => Promise<void>): Promise<void> {
  try {
    await act(stage);
  } catch (error) {
    await stage.photograph("failed");
    const logs = await stage.workbench.logs();
    await stage.workbench.close();
    throw new Error(`${(error as Error).message}\n${logs}`, { cause: error });
  }
  assert.deepEqual(await stage.workbench.close(), [], "processes that outlived the editor");
}
