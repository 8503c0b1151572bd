//! Who and what exists when a double starts.

/// The account of the default token.
pub const DEFAULT_USER: &str = "octocat";
/// The organisation that is there by default.
pub const DEFAULT_ORG: &str = "acme";
/// The default token.
pub const DEFAULT_TOKEN: &str = "ghp_testbed0000000000000000000000000000";

/// A token, whose it is, and what it may do.
#[derive(Clone)]
pub struct Token {
    pub(crate) value: String,
    pub(crate) login: String,
    pub(crate) scopes: Vec<String>,
}

impl Token {
    /// A token of `login` with the scopes `repo`, `workflow`, `admin:org` and `admin:repo_hook`.
    #[must_use]
    pub fn new(value: impl Into<String>, login: impl Into<String>) -> Self {
        let scopes = ["repo", "workflow", "admin:org", "admin:repo_hook"].map(str::to_owned).to_vec();
        Self { value: value.into(), login: login.into(), scopes }
    }

    /// Replaces the scopes. Without `repo` everything that writes is refused (403), without `workflow` pushes that touch
    /// `.github/workflows`.
    #[must_use]
    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("login", &self.login).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// What a [`GithubDouble`](super::GithubDouble) begins with. What is not named is filled in: the user [`DEFAULT_USER`], the
/// organisation [`DEFAULT_ORG`] with a team `platform`, both the first user's, and the token [`DEFAULT_TOKEN`] of the first
/// user.
#[derive(Debug, Clone, Default)]
pub struct GithubOptions {
    pub(crate) port: u16,
    pub(crate) users: Vec<String>,
    pub(crate) orgs: Vec<(String, Vec<String>)>,
    pub(crate) teams: Vec<(String, String, Vec<String>)>,
    pub(crate) tokens: Vec<Token>,
}

impl GithubOptions {
    /// Listens on this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Adds a user.
    #[must_use]
    pub fn user(mut self, login: impl Into<String>) -> Self {
        self.users.push(login.into());
        self
    }

    /// Adds an organisation whose owners are `owners`; users that do not exist yet are added.
    #[must_use]
    pub fn org(mut self, login: impl Into<String>, owners: &[&str]) -> Self {
        self.orgs.push((login.into(), owners.iter().map(|&owner| owner.to_owned()).collect()));
        self
    }

    /// Adds a team; its members become members of the organisation.
    #[must_use]
    pub fn team(mut self, org: impl Into<String>, slug: impl Into<String>, members: &[&str]) -> Self {
        self.teams.push((org.into(), slug.into(), members.iter().map(|&member| member.to_owned()).collect()));
        self
    }

    /// Adds a token; its user is added when it does not exist yet. The first one is what the double's own helpers use.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.tokens.push(token);
        self
    }

    /// With what was not named.
    pub(crate) fn filled(mut self) -> Self {
        if self.users.is_empty() {
            self = self.user(DEFAULT_USER);
        }
        let first = self.users.first().cloned().unwrap_or_default();
        if self.orgs.is_empty() {
            self = self.org(DEFAULT_ORG, &[&first]).team(DEFAULT_ORG, "platform", &[&first]);
        }
        if self.tokens.is_empty() {
            self = self.token(Token::new(DEFAULT_TOKEN, first));
        }
        self
    }
}
