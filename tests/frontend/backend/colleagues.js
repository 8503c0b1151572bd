'use strict';
// A sign-in for people other than the guest: `/api/auth/colleague/refresh?as=NAME` signs in `user:default/NAME`.
// The app stays stock: the browser is made to ask this address instead of the guest's.
const { coreServices, createBackendModule } = require('@backstage/backend-plugin-api');
const { InputError } = require('@backstage/errors');
const {
  authProvidersExtensionPoint,
  createProxyAuthProviderFactory,
  createProxyAuthenticator,
} = require('@backstage/plugin-auth-node');

const authenticator = createProxyAuthenticator({
  defaultProfileTransform: async ({ name }) => ({ profile: { displayName: name } }),
  initialize: () => undefined,
  async authenticate({ req }) {
    const name = req.query.as;
    if (typeof name !== 'string' || !/^[a-z]+$/.test(name)) {
      throw new InputError('the parameter "as" must be a name in small letters');
    }
    return { result: { name } };
  },
});

async function signInResolver({ result }, context) {
  const sub = `user:default/${result.name}`;
  return context.issueToken({ claims: { sub, ent: [sub] } });
}

exports.default = createBackendModule({
  pluginId: 'auth',
  moduleId: 'colleague-provider',
  register(env) {
    env.registerInit({
      deps: { logger: coreServices.logger, providers: authProvidersExtensionPoint },
      async init({ logger, providers }) {
        logger.warn('everybody may sign in as anybody: this backend is for tests');
        providers.registerProvider({
          providerId: 'colleague',
          factory: createProxyAuthProviderFactory({ authenticator, signInResolver }),
        });
      },
    });
  },
});
