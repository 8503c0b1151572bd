'use strict';
// The template editor opens a folder through the browser's own dialog, for which a headless browser has no window. The folder
// given instead is one of the page's private file system: the same kind of handle, filled by us.

/** Opens the editor on a folder with these files: path → text. */
async function openInEditor(page, files) {
  await page.addInitScript(() => {
    window.showDirectoryPicker = async () => (await navigator.storage.getDirectory()).getDirectoryHandle('template');
  });
  await page.goto('/create/edit');
  await page.evaluate(async texts => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('template', { create: true });
    for (const [path, text] of Object.entries(texts)) {
      const names = path.split('/');
      const file = names.pop();
      let folder = root;
      for (const name of names) folder = await folder.getDirectoryHandle(name, { create: true });
      const writable = await (await folder.getFileHandle(file, { create: true })).createWritable();
      await writable.write(text);
      await writable.close();
    }
  }, files);
  await page.getByRole('button', { name: 'Load Template Directory' }).click();
}

module.exports = { openInEditor };
