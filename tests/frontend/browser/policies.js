'use strict';
// Two colleagues who may not do everything; `backend/policy.js` says what.
const assert = require('node:assert/strict');
const { cancel, fillGreeting, signIn, taskPage } = require('./tour');

/** Dora is denied to create tasks. */
async function denied(session, site) {
  const { page } = session;
  await signIn(session);

  await session.step('a list without buttons to choose', async () => {
    await page.getByRole('heading', { name: 'Greeting', level: 4 }).waitFor();
    // The buttons would come with the answer of the permission backend.
    await page.waitForLoadState('networkidle');
    assert.equal(await page.getByRole('button', { name: 'Choose' }).count(), 0);
  });

  await session.step('a task that is not allowed', async () => {
    await page.goto('/create/templates/default/greeting');
    await fillGreeting(page, 'dora', site.url('/gate'));
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByRole('button', { name: 'Review' }).click();
    const answer = page.waitForResponse(response => response.url().endsWith('/v2/tasks'));
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    assert.equal((await answer).status(), 403);
    await page.getByText(/NotAllowed|Unauthorized|403/).first().waitFor();
  });
}

/** Ida sees her own tasks only, and nothing that is tagged `operators`; `others` is somebody else's task. */
async function conditional(session, site, others) {
  const { page } = session;
  await signIn(session);

  await session.step('a form without the page for operators', async () => {
    await page.goto('/create/templates/default/greeting');
    await fillGreeting(page, 'ida', site.url('/gate'));
    await page.getByRole('button', { name: 'Review' }).click();
    await page.getByRole('button', { name: 'Create', exact: true }).waitFor();
    assert.equal(await page.getByText('For operators').count(), 0);
  });

  let own;
  await session.step('a run without the step for operators', async () => {
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    own = await taskPage(page);
    await page.getByRole('link', { name: 'Open the greeted one' }).waitFor();
    assert.equal(await page.getByText('A step for operators').count(), 0);
  });

  await session.step('a list of own tasks', async () => {
    await page.goto('/create/tasks');
    const everybodys = page.waitForResponse(answer => /\/v2\/tasks\?(?!.*createdBy)/.test(answer.url()));
    await page.getByRole('menuitem', { name: 'All' }).click();
    const { tasks } = await (await everybodys).json();
    assert.ok(tasks.some(({ id }) => id === own) && !tasks.some(({ id }) => id === others), JSON.stringify(tasks));
    await page.getByRole('row').filter({ hasText: own }).waitFor();
    assert.equal(await page.getByRole('row').filter({ hasText: others }).count(), 0);
  });

  await session.step('the task of another', async () => {
    await page.goto(`/create/tasks/${others}`);
    await page.getByText(/NotAllowed|Unauthorized|403/).first().waitFor();
  });

  await session.step('an own task that may be cancelled', async () => {
    await page.goto('/create/templates/default/patience');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await cancel(session, await taskPage(page));
  });
}

module.exports = { conditional, denied };
