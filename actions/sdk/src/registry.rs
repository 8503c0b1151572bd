//! Ids to actions.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    action::{Action, DynAction, Typed},
    autocomplete::AutocompleteProvider,
    error::ActionError,
};

/// The actions a service offers, by id and alias, and who makes suggestions for the forms in front of them.
#[derive(Default, Clone)]
pub struct Registry {
    actions: BTreeMap<String, Arc<dyn DynAction>>,
    aliases: BTreeMap<String, String>,
    autocomplete: BTreeMap<&'static str, Arc<dyn AutocompleteProvider>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.actions.keys()).finish()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds an action; one with the same id is replaced.
    pub fn register<A: Action>(&mut self, action: A) -> &mut Self {
        self.register_dyn(Arc::new(Typed(action)))
    }
    /// Adds an action whose types are erased.
    pub fn register_dyn(&mut self, action: Arc<dyn DynAction>) -> &mut Self {
        let id = action.id().to_string();
        for alias in action.aliases() {
            self.aliases.insert(alias, id.clone());
        }
        self.actions.insert(id, action);
        self
    }
    /// Adds a provider of suggestions; one with the same id is replaced.
    pub fn register_autocomplete(&mut self, provider: Arc<dyn AutocompleteProvider>) -> &mut Self {
        self.autocomplete.insert(provider.id(), provider);
        self
    }
    /// The provider of suggestions with this id.
    pub fn autocomplete(&self, id: &str) -> Option<Arc<dyn AutocompleteProvider>> {
        self.autocomplete.get(id).cloned()
    }
    /// The action with this id or alias.
    ///
    /// # Errors
    /// `NotFoundError` in upstream's words (`@backstage/plugin-scaffolder-backend` 4.2.0, `TemplateActionRegistry`).
    pub fn get(&self, id: &str) -> Result<Arc<dyn DynAction>, ActionError> {
        self.find(id).ok_or_else(|| {
            ActionError::not_found(format!(
                "Template action with ID '{id}' is not registered. See https://backstage.io/docs/features/software-templates/builtin-actions/ on how to add a new action module."
            ))
        })
    }
    /// The action with this id or alias, if there is one.
    pub fn find(&self, id: &str) -> Option<Arc<dyn DynAction>> {
        let id = self.aliases.get(id).map_or(id, String::as_str);
        self.actions.get(id).cloned()
    }
    /// All actions, sorted by id, aliases left out.
    pub fn list(&self) -> impl Iterator<Item = &Arc<dyn DynAction>> {
        self.actions.values()
    }
}
