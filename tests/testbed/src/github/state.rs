//! What the double remembers.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, SecondsFormat, Utc};
use crypto_box::{SecretKey, aead::OsRng};
use serde_json::Value;

use super::{
    app::KnownApp,
    attachments::Attachments,
    options::{GithubOptions, Token},
    pulls::PullRequest,
    workflow_runs::{Play, WorkflowRun},
};

/// What an account may do with a repository; later ones include the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// `pull`
    Read,
    /// `triage`
    Triage,
    /// `push`
    Write,
    /// `maintain`
    Maintain,
    /// `admin`
    Admin,
}

impl Access {
    /// The access of a permission name (`pull`, `triage`, `push`, `maintain`, `admin`).
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "pull" | "read" => Self::Read,
            "triage" => Self::Triage,
            "push" | "write" => Self::Write,
            "maintain" => Self::Maintain,
            "admin" => Self::Admin,
            _ => return None,
        })
    }

    /// As invitations name it.
    pub(super) fn invitation(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }
}

/// A user or an organisation.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) organization: bool,
    pub(super) created: DateTime<Utc>,
    /// Of an organisation: lower-case logins, and whether they own it.
    pub(super) members: BTreeMap<String, bool>,
}

#[derive(Debug, Clone)]
pub(super) struct Team {
    pub(super) id: u64,
    pub(super) slug: String,
    pub(super) members: Vec<String>,
    pub(super) created: DateTime<Utc>,
}

/// A repository and all that hangs on it.
#[derive(Clone)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) visibility: String,
    /// Members of the creating and updating bodies, as sent or by GitHub's defaults.
    pub(super) settings: BTreeMap<String, Value>,
    pub(super) default_branch: String,
    pub(super) created: DateTime<Utc>,
    pub(super) pushed: DateTime<Utc>,
    pub(super) topics: Vec<String>,
    pub(super) collaborators: BTreeMap<String, Access>,
    pub(super) invitations: BTreeMap<String, Access>,
    /// By team slug.
    pub(super) teams: BTreeMap<String, Access>,
    pub(super) variables: BTreeMap<String, String>,
    /// Sealed boxes, still closed.
    pub(super) secrets: BTreeMap<String, Vec<u8>>,
    pub(super) key: SecretKey,
    pub(super) oidc: Option<Value>,
    pub(super) subscription: Option<Value>,
    pub(super) workflow_access: Option<String>,
    /// By branch.
    pub(super) protection: BTreeMap<String, Protection>,
    pub(super) hooks: Vec<Value>,
    pub(super) issues: Vec<Value>,
    pub(super) labels: BTreeMap<String, u64>,
    pub(super) attachments: Attachments,
}

/// Protection of a branch.
#[derive(Debug, Clone)]
pub(super) struct Protection {
    /// The body of the request that set it.
    pub(super) rules: Value,
    pub(super) signatures: bool,
}

impl Repo {
    pub(super) fn key_id(&self) -> String {
        format!("{:018}", self.id)
    }

    pub(super) fn setting(&self, name: &str) -> Value {
        self.settings.get(name).cloned().unwrap_or(Value::Null)
    }

    pub(super) fn private(&self) -> bool {
        self.visibility != "public"
    }

    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// An archive that may be fetched without further credentials.
#[derive(Debug, Clone)]
pub(super) struct Download {
    pub(super) owner: String,
    pub(super) repo: String,
    pub(super) sha: String,
}

pub(super) struct State {
    last_id: u64,
    pub(super) accounts: BTreeMap<String, Account>,
    teams: BTreeMap<(String, String), Team>,
    repos: BTreeMap<(String, String), Repo>,
    pub(super) tokens: Vec<Token>,
    pub(super) downloads: HashMap<String, Download>,
    /// By lower-case owner and name.
    pub(super) runs: BTreeMap<(String, String), Vec<WorkflowRun>>,
    pub(super) play: Play,
    /// By lower-case owner and name.
    pub(super) pulls: BTreeMap<(String, String), Vec<PullRequest>>,
    pub(super) apps: Vec<KnownApp>,
}

/// GitHub compares names without regard to case.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// The settings of a repository for which nothing was said.
pub(super) fn default_settings() -> BTreeMap<String, Value> {
    let on =
        ["has_issues", "has_projects", "has_wiki", "allow_rebase_merge", "allow_squash_merge", "allow_merge_commit"];
    let off = ["has_discussions", "is_template", "allow_auto_merge", "allow_update_branch", "delete_branch_on_merge"];
    let named = [
        ("squash_merge_commit_title", "COMMIT_OR_PR_TITLE"),
        ("squash_merge_commit_message", "COMMIT_MESSAGES"),
        ("merge_commit_title", "MERGE_MESSAGE"),
        ("merge_commit_message", "PR_TITLE"),
    ];
    let switches = on.map(|name| (name, true)).into_iter().chain(off.map(|name| (name, false)));
    let switches = switches.map(|(name, is_on)| (name, Value::Bool(is_on)));
    let named = named.into_iter().map(|(name, value)| (name, Value::from(value)));
    let absent = ["description", "homepage"].into_iter().map(|name| (name, Value::Null));
    switches.chain(named).chain(absent).map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl State {
    pub(super) fn new(options: &GithubOptions) -> Self {
        let mut state = Self {
            last_id: 1000,
            accounts: BTreeMap::new(),
            teams: BTreeMap::new(),
            repos: BTreeMap::new(),
            tokens: options.tokens.clone(),
            downloads: HashMap::new(),
            runs: BTreeMap::new(),
            play: Play::default(),
            pulls: BTreeMap::new(),
            apps: Vec::new(),
        };
        for (login, owners) in &options.orgs {
            state.add_account(login, true);
            for owner in owners {
                state.add_member(login, owner, true);
            }
        }
        for login in &options.users {
            state.add_account(login, false);
        }
        for token in &options.tokens {
            state.add_account(&token.login, false);
        }
        for (org, slug, members) in &options.teams {
            state.add_account(org, true);
            for member in members {
                state.add_member(org, member, false);
            }
            let team = Team {
                id: state.next_id(),
                slug: slug.clone(),
                members: members.iter().map(|it| folded(it)).collect(),
                created: Utc::now(),
            };
            state.teams.insert((folded(org), folded(slug)), team);
        }
        state
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn add_account(&mut self, login: &str, organization: bool) {
        let id = self.next_id();
        self.accounts.entry(folded(login)).or_insert_with(|| Account {
            id,
            login: login.to_owned(),
            organization,
            created: Utc::now(),
            members: BTreeMap::new(),
        });
    }

    fn add_member(&mut self, org: &str, login: &str, owner: bool) {
        self.add_account(login, false);
        if let Some(account) = self.accounts.get_mut(&folded(org)) {
            let owns = account.members.entry(folded(login)).or_default();
            *owns |= owner;
        }
    }

    pub(super) fn account(&self, login: &str) -> Option<&Account> {
        self.accounts.get(&folded(login))
    }

    pub(super) fn team(&self, org: &str, slug: &str) -> Option<&Team> {
        self.teams.get(&(folded(org), folded(slug)))
    }

    pub(super) fn account_by_id(&self, id: u64) -> Option<&Account> {
        self.accounts.values().find(|account| account.id == id)
    }

    pub(super) fn team_by_id(&self, id: u64) -> Option<&Team> {
        self.teams.values().find(|team| team.id == id)
    }

    pub(super) fn repo(&self, owner: &str, name: &str) -> Option<&Repo> {
        self.repos.get(&(folded(owner), folded(name)))
    }

    pub(super) fn repo_mut(&mut self, owner: &str, name: &str) -> Option<&mut Repo> {
        self.repos.get_mut(&(folded(owner), folded(name)))
    }

    pub(super) fn repos(&self) -> impl Iterator<Item = &Repo> {
        self.repos.values()
    }

    pub(super) fn remove_repo(&mut self, owner: &str, name: &str) -> Option<Repo> {
        let place = (folded(owner), folded(name));
        self.runs.remove(&place);
        self.pulls.remove(&place);
        self.repos.remove(&place)
    }

    /// Adds a repository; `None` when the name is taken. The creator becomes its administrator.
    pub(super) fn add_repo(
        &mut self,
        owner: &str,
        name: &str,
        visibility: &str,
        settings: BTreeMap<String, Value>,
        default_branch: &str,
    ) -> Option<Repo> {
        let place = (folded(owner), folded(name));
        if self.repos.contains_key(&place) {
            return None;
        }
        let now = Utc::now();
        let repo = Repo {
            id: self.next_id(),
            owner: self.account(owner).map_or_else(|| owner.to_owned(), |account| account.login.clone()),
            name: name.to_owned(),
            visibility: visibility.to_owned(),
            settings,
            default_branch: default_branch.to_owned(),
            created: now,
            pushed: now,
            topics: Vec::new(),
            collaborators: BTreeMap::new(),
            invitations: BTreeMap::new(),
            teams: BTreeMap::new(),
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            key: SecretKey::generate(&mut OsRng),
            oidc: None,
            subscription: None,
            workflow_access: None,
            protection: BTreeMap::new(),
            hooks: Vec::new(),
            issues: Vec::new(),
            labels: BTreeMap::new(),
            attachments: Attachments::default(),
        };
        self.repos.insert(place, repo.clone());
        Some(repo)
    }

    /// What `login` may do with a repository; `None`: not even see it.
    pub(super) fn access(&self, login: Option<&str>, repo: &Repo) -> Option<Access> {
        let public = (!repo.private()).then_some(Access::Read);
        let Some(login) = login.map(folded) else { return public };
        let owner = folded(&repo.owner);
        let own = (owner == login).then_some(Access::Admin);
        let member = self.accounts.get(&owner).and_then(|account| account.members.get(&login));
        let as_member = member.map(|owns| if *owns { Access::Admin } else { Access::Read });
        let as_collaborator = repo.collaborators.get(&login).copied();
        let in_team = |slug: &str| self.team(&repo.owner, slug).is_some_and(|team| team.members.contains(&login));
        let as_team = repo.teams.iter().filter(|(slug, _)| in_team(slug)).map(|(_, access)| *access).max();
        let as_app = self.installed(&login, &owner, Some(&repo.name)).then_some(Access::Admin);
        [public, own, as_app, as_member, as_collaborator, as_team].into_iter().flatten().max()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let repos: Vec<_> = self.repos.values().map(Repo::full_name).collect();
        f.debug_struct("State").field("repos", &repos).finish_non_exhaustive()
    }
}
