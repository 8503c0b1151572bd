import '@backstage/ui/css/styles.css';
import { createApp } from '@backstage/frontend-defaults';
import { createRoot } from 'react-dom/client';

// Features come from package.json, as `app.packages: all` in app-config.yaml says.
createRoot(document.getElementById('root')!).render(createApp().createRoot());
