'use strict';
// The guest, who may do everything, goes through all that the scaffolder's pages can do.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { openInEditor } = require('./editor');

const TASK_PAGE = /\/create\/tasks\/([0-9a-f-]{36})$/;

/** Presses the stock sign-in page's button. */
async function signIn(session) {
  await session.step('sign-in page', async page => {
    await page.goto('/create');
    await page.getByRole('button', { name: 'Enter' }).waitFor();
  });
  await session.step('signed in', async page => {
    await page.getByRole('button', { name: 'Enter' }).click();
    await page.getByRole('heading', { name: 'Create', level: 1 }).waitFor();
    await page.waitForLoadState('networkidle');
  });
}

/** Waits for the task page; gives the task's id. */
async function taskPage(page) {
  await page.waitForURL(TASK_PAGE);
  return TASK_PAGE.exec(page.url())[1];
}

/** Fills in the first page of the form of `greeting`. */
async function fillGreeting(page, name, gate) {
  await page.getByRole('textbox', { name: 'Name' }).fill(name);
  await page.getByRole('textbox', { name: 'Gate' }).fill(gate);
}

async function statusOf(session, id) {
  const { status, body } = await session.ask('GET', `/v2/tasks/${id}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body.status;
}

/**
 * Presses the task page's button, and waits until the page and the scaffolder say that the task is cancelled: the stock
 * backend has an event for that, and ends such a task as failed.
 */
async function cancel(session, id) {
  await session.page.getByRole('button', { name: 'Cancel' }).click();
  await session.page.getByRole('button', { name: 'Start Over', disabled: false }).waitFor();
  await session.eventually(async () => assert.equal(await statusOf(session, id), 'failed'));
  const { body: events } = await session.ask('GET', `/v2/tasks/${id}/events`);
  assert.ok(events.some(({ type }) => type === 'cancelled'), JSON.stringify(events));
}

async function tour(session, site) {
  const { page } = session;
  await signIn(session);

  await session.step('template list', async () => {
    for (const title of ['Greeting', 'Patience', 'Second try']) {
      await page.getByRole('heading', { name: title, level: 4 }).waitFor();
    }
  });

  await session.step('form with a validation error', async () => {
    await page.getByRole('button', { name: 'Choose' }).first().click();
    await page.getByRole('heading', { name: 'Greeting', level: 2 }).waitFor();
    await fillGreeting(page, 'ADA', site.url('/gate'));
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('must match pattern "^[a-z]+$"').first().waitFor();
  });

  await session.step('second page of the form', async () => {
    await fillGreeting(page, 'ada', site.url('/gate'));
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByRole('textbox', { name: 'Note of an operator' }).fill('all is well');
  });

  await session.step('review', async () => {
    await page.getByRole('button', { name: 'Review' }).click();
    for (const value of ['ada', site.url('/gate'), 'all is well']) {
      await page.getByText(value, { exact: true }).waitFor();
    }
  });

  site.gate('/gate');
  let greeting;
  await session.step('live log of a running task', async () => {
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    greeting = await taskPage(page);
    await page.getByRole('button', { name: 'Show Logs' }).click();
    await page.getByText('Hello, ada.').first().waitFor();
    assert.equal(await statusOf(session, greeting), 'processing', 'its log is shown while it runs');
  });

  await session.step('links and text of the output', async () => {
    site.open('/gate');
    const link = page.getByRole('link', { name: 'Open the greeted one' });
    await link.waitFor();
    assert.equal(await link.getAttribute('href'), 'https://example.com/people/ada');
    await page.getByText('Note: all is well').first().waitFor();
    assert.equal(await statusOf(session, greeting), 'completed');
  });

  let patience;
  await session.step('a task that runs', async () => {
    await page.goto('/create/templates/default/patience');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    patience = await taskPage(page);
    await page.getByRole('button', { name: 'Show Logs' }).click();
    await page.getByText('Beginning step Wait').first().waitFor();
  });

  await session.step('cancel of a running task', async () => {
    await cancel(session, patience);
  });

  let retried;
  await session.step('a task that fails', async () => {
    await page.goto('/create/templates/default/second-try');
    await page.getByRole('textbox', { name: 'Address' }).fill(site.url('/later'));
    await page.getByRole('button', { name: 'Review' }).click();
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    retried = await taskPage(page);
    await page.getByText('404').first().waitFor();
    assert.equal(await statusOf(session, retried), 'failed');
  });

  await session.step('retry of a failed task', async () => {
    site.publish('/later', 'now it is here');
    await page.getByRole('button', { name: 'Retry' }).click();
    await page.getByText('It was there this time').first().waitFor();
    assert.equal(await taskPage(page), retried, 'the same task runs again');
    assert.equal(await statusOf(session, retried), 'completed');
  });

  await session.step('task list', async () => {
    await page.goto('/create/tasks');
    const rows = [
      [greeting, 'Greeting', 'completed'],
      [patience, 'Patience', 'failed'],
      [retried, 'Second try', 'completed'],
    ];
    for (const [id, title, status] of rows) {
      await page.getByRole('row').filter({ hasText: id }).filter({ hasText: title }).filter({ hasText: status }).waitFor();
    }
  });

  await session.step('actions page', async () => {
    await page.goto('/create/actions');
    for (const id of ['fetch:template', 'debug:wait', 'catalog:register', 'fs:rename']) {
      await page.getByRole('row', { name: new RegExp(`^${id} `) }).first().waitFor();
    }
  });

  await session.step('an action in detail', async () => {
    await page.getByRole('row', { name: /^debug:wait / }).click();
    await page.getByText('seconds').first().waitFor();
  });

  await session.step('templating extensions page', async () => {
    await page.goto('/create/templating-extensions');
    for (const filter of ['parseRepoUrl', 'parseEntityRef', 'pick', 'projectSlug']) {
      await page.getByRole('heading', { name: filter, level: 2 }).waitFor();
    }
  });

  const folder = path.join(__dirname, '../editor');
  await session.step('template editor', async () => {
    await openInEditor(page, {
      'template.yaml': fs.readFileSync(path.join(folder, 'template.yaml'), 'utf8'),
      'skeleton/README.md': fs.readFileSync(path.join(folder, 'skeleton/README.md'), 'utf8'),
    });
    await page.getByRole('textbox', { name: 'Service' }).fill('ledger');
  });

  await session.step('dry run', async () => {
    await page.getByRole('button', { name: 'Review' }).click();
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByText('A service named LEDGER.').first().waitFor();
  });

  await session.step('register a template by its address', async () => {
    const template = fs.readFileSync(path.join(__dirname, '../registered.yaml'), 'utf8');
    site.publish('/registered.yaml', template);
    await page.goto('/catalog-import');
    await page.getByRole('textbox', { name: 'URL' }).fill(site.url('/registered.yaml'));
    await page.getByRole('button', { name: 'Analyze' }).click();
    await page.getByRole('button', { name: 'Import' }).click();
    await page.getByText('The following entities have been added to the catalog:').waitFor();
  });

  await session.step('run of the registered template', async () => {
    // The catalog reads what was added in its own time.
    await session.eventually(async () => {
      const { status } = await session.ask('GET', '/v2/templates/default/template/registered/parameter-schema');
      assert.equal(status, 200);
    });
    await page.goto('/create/templates/default/registered');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    const id = await taskPage(page);
    // A run without output shows its log by itself when it is over.
    await page.getByText('Registered by its address').first().waitFor();
    assert.equal(await statusOf(session, id), 'completed');
  });

  return { greeting };
}

module.exports = { cancel, fillGreeting, signIn, taskPage, tour };
