//! Who and what exists when a double starts.

/// The account of [`Options::default`]'s token.
pub const DEFAULT_USER: &str = "octocat";
/// The organisation of [`Options::default`].
pub const DEFAULT_ORG: &str = "acme";
/// The token of [`Options::default`].
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

/// What a [`GithubDouble`](super::GithubDouble) begins with.
///
/// The default has the user [`DEFAULT_USER`], who owns the organisation [`DEFAULT_ORG`] with its team `platform`, and the
/// token [`DEFAULT_TOKEN`]; [`Options::empty`] has nothing.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) port: u16,
    pub(crate) users: Vec<String>,
    pub(crate) orgs: Vec<(String, Vec<String>)>,
    pub(crate) teams: Vec<(String, String, Vec<String>)>,
    pub(crate) tokens: Vec<Token>,
}

impl Default for Options {
    fn default() -> Self {
        Self::empty()
            .user(DEFAULT_USER)
            .org(DEFAULT_ORG, &[DEFAULT_USER])
            .team(DEFAULT_ORG, "platform", &[DEFAULT_USER])
            .token(Token::new(DEFAULT_TOKEN, DEFAULT_USER))
    }
}

impl Options {
    /// No accounts, no tokens.
    #[must_use]
    pub fn empty() -> Self {
        Self { port: 0, users: Vec::new(), orgs: Vec::new(), teams: Vec::new(), tokens: Vec::new() }
    }

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

    /// Adds a token; its user is added when it does not exist yet.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.tokens.push(token);
        self
    }
}
