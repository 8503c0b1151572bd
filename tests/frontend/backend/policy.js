'use strict';
// Who may do what. The guest may do everything, so that the tour sees it all; two colleagues show what a policy does:
//
// * `user:default/dora` is denied to create tasks.
// * `user:default/ida` sees and cancels her own tasks only, and gets neither parameters nor steps tagged `operators`.
const { createBackendModule } = require('@backstage/backend-plugin-api');
const { AuthorizeResult } = require('@backstage/plugin-permission-common');
const { policyExtensionPoint } = require('@backstage/plugin-permission-node/alpha');

const ALLOW = { result: AuthorizeResult.ALLOW };
const DENY = { result: AuthorizeResult.DENY };

/** A decision that the scaffolder itself applies to its tasks or templates. */
const conditional = (resourceType, conditions) => ({
  result: AuthorizeResult.CONDITIONAL,
  pluginId: 'scaffolder',
  resourceType,
  conditions,
});

const onlyTasksOf = owner =>
  conditional('scaffolder-task', {
    rule: 'IS_TASK_OWNER',
    resourceType: 'scaffolder-task',
    params: { createdBy: [owner] },
  });

const onlyWithoutTag = tag =>
  conditional('scaffolder-template', {
    not: { rule: 'HAS_TAG', resourceType: 'scaffolder-template', params: { tag } },
  });

const RULES = {
  'user:default/dora': {
    'scaffolder.task.create': () => DENY,
  },
  'user:default/ida': {
    'scaffolder.task.read': onlyTasksOf,
    'scaffolder.task.cancel': onlyTasksOf,
    'scaffolder.template.parameter.read': () => onlyWithoutTag('operators'),
    'scaffolder.template.step.read': () => onlyWithoutTag('operators'),
  },
};

class Policy {
  async handle({ permission }, user) {
    const ref = user?.info.userEntityRef;
    const decide = RULES[ref]?.[permission.name];
    return decide ? decide(ref) : ALLOW;
  }
}

exports.default = createBackendModule({
  pluginId: 'permission',
  moduleId: 'people-policy',
  register(env) {
    env.registerInit({
      deps: { policy: policyExtensionPoint },
      async init({ policy }) {
        policy.setPolicy(new Policy());
      },
    });
  },
});
