/** A VS Code workbench in a headless Chromium, used as a person would: keys, clicks, and what can be read on it. */

import { mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Browser, type Locator, type Page, chromium } from "playwright-core";

import { type CodeServer, startCodeServer } from "./codeserver.ts";
import { type Process, alive, familyOf, kill } from "./processes.ts";
import { findProgram } from "./programs.ts";
import { filesWith } from "./searching.ts";
import { until } from "./waiting.ts";

const SCREENSHOTS = join(import.meta.dirname, "screenshots");
/** Room for two columns of code and their buttons; on a picture it is 1280 × 800. */
const SCREEN = { viewport: { width: 1440, height: 900 }, deviceScaleFactor: 8 / 9 };
const QUIET_CHROMIUM = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

export interface WorkbenchOptions {
  readonly vsix: string;
  /** The folder that is opened in the workbench. */
  readonly folder: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string>>;
}

export class Workbench {
  readonly page: Page;
  readonly #browser: Browser;
  readonly #server: CodeServer;
  readonly #root: string;

  private constructor(page: Page, browser: Browser, server: CodeServer, root: string) {
    this.page = page;
    this.#browser = browser;
    this.#server = server;
    this.#root = root;
  }

  static async open({ vsix, folder, settings, env }: WorkbenchOptions): Promise<Workbench> {
    const root = await mkdtemp(join(tmpdir(), "workbench-"));
    const server = await startCodeServer({ root, vsix, settings, env: { ...process.env, ...env } });
    const browser = await chromium.launch({
      executablePath: findProgram(process.env["CHROMIUM"] ?? "chromium"),
      args: QUIET_CHROMIUM,
      env: { ...process.env, HOME: root } as Record<string, string>,
    });
    const page = await browser.newPage(SCREEN);
    const workbench = new Workbench(page, browser, server, root);
    try {
      await page.goto(`${server.origin}/?folder=${encodeURIComponent(folder)}`);
      await page.locator(".monaco-workbench .explorer-folders-view").waitFor();
    } catch (error) {
      await workbench.close();
      throw error;
    }
    return workbench;
  }

  /** Closes the window, stops the editor, and returns the processes that did not end with it. */
  async close(): Promise<Process[]> {
    const before = this.processes();
    await this.#browser.close();
    await this.#server.child.stop();
    // An extension host waits for its window to come back. What it started has to notice that it is gone.
    this.processes().filter(isExtensionHost).forEach(kill);
    let left: Process[] = [];
    const ended = (): boolean => (left = alive(before)).length === 0 && (left = this.processes()).length === 0;
    // Sooner than a sandboxed script runs out of time by itself.
    await until("everything to end", ended, { timeout: 5_000 }).catch(() => undefined);
    left.forEach(kill);
    await rm(this.#root, { recursive: true, force: true, maxRetries: 5 });
    return left;
  }

  /** Everything that runs because this workbench does. */
  processes(): Process[] {
    return familyOf(this.#root);
  }

  /** Opens a file of the folder by a double click in the explorer. */
  async openFile(name: string): Promise<void> {
    await this.page.locator(".explorer-folders-view").getByRole("treeitem", { name }).dblclick();
    await this.tab(name).waitFor();
    await this.editor.locator(".view-line").first().waitFor();
  }

  tab(name: string | RegExp): Locator {
    return this.page.locator(".tabs-container").getByRole("tab", { name, exact: true });
  }

  /** F1, the command's title, a click. */
  async run(title: string): Promise<void> {
    const row = this.page.locator(".quick-input-list .monaco-list-row").filter({ hasText: title }).first();
    // The palette lists what could be run when it was opened, and is told of nothing that comes later.
    await until(`the command ${title}`, async () => {
      await this.page.keyboard.press("Escape");
      await this.page.keyboard.press("F1");
      await this.quickInput.fill(`>${title}`);
      return row.waitFor({ timeout: 3_000 }).then(
        () => true,
        () => false,
      );
    });
    await row.click();
  }

  /** Clicks the lightbulb at the cursor and picks an entry of its menu. */
  async lightbulb(entry: string | RegExp): Promise<void> {
    await this.page.locator(".monaco-editor .codicon-light-bulb:visible").first().click();
    // The menu takes no clicks until the mouse has moved; its first entry is chosen already.
    await this.page.locator(".action-widget .focused").and(this.page.getByRole("option", { name: entry })).waitFor();
    await this.page.keyboard.press("Enter");
  }

  /** The input box that asks this; the palette that it came from is not it. */
  question(text: RegExp): Locator {
    return this.page.locator(".quick-input-widget").filter({ hasText: text });
  }

  /** Waits for the question, types words and presses Enter. */
  async answer(question: RegExp, words: string): Promise<void> {
    await this.question(question).waitFor();
    await this.quickInput.fill(words);
    await this.page.keyboard.press("Enter");
    await this.question(question).waitFor({ state: "hidden" });
  }

  /** Picks an entry of the list that asks this. */
  async choose(question: RegExp, entry: string | RegExp): Promise<void> {
    await this.question(question).locator(".monaco-list-row").filter({ hasText: entry }).first().click();
    await this.question(question).waitFor({ state: "hidden" });
  }

  get quickInput(): Locator {
    return this.page.locator(".quick-input-widget input[type=text]");
  }

  /** A button in the title of the editor that is in front. */
  button(name: string | RegExp): Locator {
    return this.page.locator(".editor-group-container.active .editor-actions").getByRole("button", { name });
  }

  /** A line of a tree in the side bar. */
  line(text: RegExp): Locator {
    return this.page.locator(".sidebar .monaco-list-row").filter({ hasText: text });
  }

  /** A message in the corner. */
  notification(text: RegExp): Locator {
    return this.page.locator(".notifications-toasts .notification-toast").filter({ hasText: text });
  }

  /** Presses a button of a message. */
  async press(message: RegExp, button: string): Promise<void> {
    await this.notification(message).getByRole("button", { name: button, exact: true }).click();
  }

  /** Puts the cursor at the start of an editor's line and types. */
  async type(editor: Locator, line: number, text: string): Promise<void> {
    await editor.locator(".view-lines").click();
    await this.page.keyboard.press("Control+Home");
    for (let down = 1; down < line; down += 1) await this.page.keyboard.press("ArrowDown");
    await this.page.keyboard.type(text);
  }

  /** The extension's own entry of the status bar; progress that runs long has another beside it. */
  statusItem(text: RegExp): Locator {
    return this.page.locator(".statusbar-item[id^='precision-shaking.']").filter({ hasText: text });
  }

  /** A button above the proposed text. */
  lens(name: RegExp): Locator {
    return this.modified.locator(".codelens-decoration a").filter({ hasText: name });
  }

  /** The text editor in front that is no diff. */
  get editor(): Locator {
    return this.page.locator(".editor-instance .monaco-editor").and(this.page.locator(":not(.monaco-diff-editor *)"));
  }

  /** A file's part of a diff of several. */
  part(name: string): { readonly original: Locator; readonly modified: Locator } {
    const entry = this.page.locator(".multiDiffEntry").filter({ hasText: name });
    const side = (which: string): Locator => entry.locator(`.monaco-diff-editor .editor.${which} .monaco-editor`);
    return { original: side("original"), modified: side("modified") };
  }

  get original(): Locator {
    return this.page.locator(".monaco-diff-editor .editor.original .monaco-editor");
  }

  get modified(): Locator {
    return this.page.locator(".monaco-diff-editor .editor.modified .monaco-editor");
  }

  /** Waits until the editor shows exactly `text` (its last line break aside). */
  async shows(editor: Locator, text: string, timeout = 30_000): Promise<void> {
    let seen = "";
    await until("the editor to show the text", async () => (seen = await linesOf(editor)) === text.trimEnd(), {
      timeout,
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n--- wanted\n${text}\n--- seen\n${seen}`);
    });
  }

  /** The editor's own files that hold a text: settings, logs, whatever it keeps. */
  filesWith(text: string): Promise<string[]> {
    return filesWith(this.#root, text);
  }

  /** What the extension, its server and the editor wrote into their logs. */
  async logs(): Promise<string> {
    const folder = join(this.#root, "user-data", "logs");
    const files = await readdir(folder, { recursive: true });
    const wanted = files.filter((file) => /precision|remoteexthost\.log$/i.test(file));
    const texts = await Promise.all(wanted.map((file) => readFile(join(folder, file), "utf8").catch(() => "")));
    return wanted.map((file, index) => `--- ${file}\n${texts[index]}`).join("\n");
  }

  async screenshot(name: string): Promise<void> {
    await mkdir(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }
}

/** What an editor shows, top to bottom. Only lines in view exist in the page, so test scripts are short. */
async function linesOf(editor: Locator): Promise<string> {
  const lines = await editor.locator(".view-lines").evaluateAll((views) =>
    views.flatMap((view) =>
      [...view.querySelectorAll<HTMLElement>(".view-line")]
        .sort((a, b) => Number.parseFloat(a.style.top) - Number.parseFloat(b.style.top))
        .map((line) => (line.textContent ?? "").replaceAll("\u00a0", " ").trimEnd()),
    ),
  );
  return lines.join("\n").trimEnd();
}

function isExtensionHost({ command }: Process): boolean {
  return command.includes("--type=extensionHost");
}
