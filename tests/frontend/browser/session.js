'use strict';
// One person at one browser: steps with a screenshot each, and what the scaffolder was asked meanwhile.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { chromium } = require('playwright-core');

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

class Session {
  #settings;
  #person;
  #profile;
  #context;
  #calls = [];
  #steps = [];
  #token;

  /** Opens a browser; `person` is a colleague's name, or nothing for the guest. */
  static async open(settings, person) {
    const session = new Session();
    session.#settings = settings;
    session.#person = person;
    session.#profile = fs.mkdtempSync(path.join(os.tmpdir(), 'understudy-browser-'));
    session.#context = await chromium.launchPersistentContext(session.#profile, {
      executablePath: CHROMIUM,
      headless: true,
      args: ARGUMENTS,
      viewport: { width: 1400, height: 1000 },
      baseURL: settings.app,
    });
    session.page = session.#context.pages()[0] ?? (await session.#context.newPage());
    session.page.setDefaultTimeout(settings.patience);
    await session.#watch();
    return session;
  }

  async #watch() {
    if (this.#person) {
      const instead = `${this.#settings.app}/api/auth/colleague/refresh?as=${this.#person}`;
      await this.page.route('**/api/auth/guest/refresh*', route => route.continue({ url: instead }));
    }
    this.page.on('request', request => {
      const bearer = /^Bearer (.+)$/.exec(request.headers().authorization ?? '');
      if (bearer) this.#token = bearer[1];
    });
    this.page.on('requestfinished', async request => {
      if (!request.url().includes('/api/scaffolder/')) return;
      const response = await request.response().catch(() => null);
      this.#note(request, response ? response.status() : 'no answer');
    });
    this.page.on('requestfailed', request => {
      if (request.url().includes('/api/scaffolder/')) this.#note(request, request.failure()?.errorText);
    });
  }

  #note(request, status) {
    const step = this.#steps.at(-1)?.name;
    this.#calls.push({ step, method: request.method(), url: request.url(), status });
  }

  /** Runs a step; its screenshot is taken whether it succeeds or not. */
  async step(name, act) {
    const number = String(this.#steps.length + 1).padStart(2, '0');
    const shot = path.join(this.#settings.shots, `${this.#person ?? 'guest'}-${number}-${name.replaceAll(' ', '-')}.png`);
    this.#steps.push({ name });
    try {
      await act(this.page);
    } catch (error) {
      const calls = this.#calls.filter(call => call.step === name);
      const seen = await this.page.locator('body').innerText().catch(() => '(no page)');
      const who = this.#person ?? 'the guest';
      throw new Error(
        `${who} could not do the step "${name}" at ${this.page.url()}: ${error.stack}\n` +
          `asked of the scaffolder in this step:\n${calls.map(shown).join('\n') || '  (nothing)'}\n` +
          `on the page:\n${seen.slice(0, 3000)}\nscreenshot: ${shot}`,
      );
    } finally {
      await this.page.screenshot({ path: shot }).catch(() => undefined);
    }
    console.log(JSON.stringify({ person: this.#person ?? 'guest', step: name, screenshot: shot }));
  }

  /** Asks the scaffolder what the page itself would ask, as the same person. */
  async ask(method, route, body) {
    const response = await fetch(this.#settings.scaffolder + route, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    return { status: response.status, body: await response.json().catch(() => null) };
  }

  /** Tries an assertion until it holds, as long as a page may take. */
  async eventually(assertion) {
    const deadline = Date.now() + this.#settings.patience;
    for (;;) {
      try {
        return await assertion();
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await new Promise(resolve => setTimeout(resolve, 250));
      }
    }
  }

  /** Every request the pages sent to the scaffolder. */
  get calls() {
    return this.#calls;
  }

  async close() {
    await this.#context.close();
    fs.rmSync(this.#profile, { recursive: true, force: true });
  }
}

const shown = call => `  ${call.method} ${call.url} -> ${call.status}`;

module.exports = { Session };
