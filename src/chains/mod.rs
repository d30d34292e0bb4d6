//! Where clients look for credentials, in which order, and what they find in given surroundings.
//!
//! [`CLIENTS`] is the knowledge: a chain for each client, with the version and the source of every step. [`explain`] judges a chain
//! without any effect: whoever asks provides the variables, the files, and what is known of servers.

mod address;
mod aws;
mod clients;
mod evaluate;
mod files;
mod found;
mod ini;
mod odps;
mod profile;
mod shown;
mod surroundings;
mod verdict;

pub use self::clients::CLIENTS;
pub(crate) use self::evaluate::{EXEC_ROLE, INJECT_ROLE};
pub use self::ini::Syntax;
pub use self::surroundings::{FileState, Metadata, Served, Surroundings, Value};
pub use self::verdict::{
    Environment, Explained, Fix, Outlook, StepResult, default_chains, explain,
};

use crate::credentials::Keys;

/// A client, and its default chain.
#[derive(Debug)]
pub struct Client {
    /// Its name, as `--client` spells it.
    pub name: &'static str,
    /// Its language and its package.
    pub title: &'static str,
    /// The version that the chain was read from.
    pub version: &'static str,
    /// Whether tests run the client itself, or its source was read only.
    pub is_run: bool,
    /// The name of its program; `None` if it is a library, which any program may use.
    pub program: Option<&'static str>,
    /// Whether it goes on to the next step where one has something that turns out not to work.
    pub goes_on: bool,
    /// The steps, in order.
    pub steps: &'static [Step],
    /// What differs at later calls, and between concurrent ones.
    pub later: &'static str,
    /// What leads it to our credentials where its chain does not.
    pub otherwise: &'static str,
}

/// A step of a chain.
#[derive(Debug)]
pub struct Step {
    /// The provider, as the client reports it, or else as its source names it.
    pub provider: &'static str,
    /// What it takes, and when.
    pub rule: Rule,
    /// The variables, files and addresses that it looks at, for readers.
    pub looks_at: &'static str,
    /// The identity that it yields, for readers.
    pub yields: &'static str,
    /// How the client renews what it yields, for readers.
    pub renewed: &'static str,
    /// The file of the package that says so.
    pub source: &'static str,
}

/// What a step takes.
#[derive(Debug)]
pub enum Rule {
    /// Keys in variables; for each, the first that is set counts.
    Keys {
        /// The AccessKey ID.
        id: &'static [&'static str],
        /// The secret.
        secret: &'static [&'static str],
        /// The token.
        token: &'static [&'static str],
        /// Whether the client fails if a part is missing, instead of going on.
        fails_if_partial: bool,
    },
    /// Keys in Java's system properties.
    SystemProperties,
    /// An OIDC token in a file; the variable may hold the token itself.
    Oidc {
        /// A variable with the token.
        token: Option<&'static str>,
    },
    /// A profile of aliyun-cli.
    Profile(ProfileRule),
    /// An ini file of the SDKs.
    Ini(IniRule),
    /// The ECS metadata service.
    Metadata(Proxy),
    /// The credentials URI.
    Uri(Proxy),
    /// A token for a role of AWS.
    WebIdentity,
    /// A profile of AWS in one of its two files.
    AwsProfile(AwsPart),
    /// The file of keys of the first tools of EC2.
    AwsKeyFile,
    /// The files of boto 2.
    BotoConfig,
    /// The credential service of a container.
    Container,
    /// The metadata service of EC2.
    Ec2,
    /// The JSON file of pyodps.
    OdpsFile,
    /// The variables of pyodps, which count only with a token.
    OdpsVariables,
    /// A bearer token of pyodps.
    OdpsBearer,
    /// The profile that aliyun-cli itself uses.
    AliyunCli,
    /// The configuration of ossutil.
    Ossutil,
}

/// How a client reads a profile of aliyun-cli.
#[derive(Debug)]
pub struct ProfileRule {
    /// Whether `ALIBABA_CLOUD_CONFIG_FILE` names the file.
    pub has_file_variable: bool,
    /// The modes that it knows.
    pub modes: &'static [&'static str],
    /// Whether a file that is not UTF-8 is refused.
    pub is_of_python: bool,
    /// Whether the variables of an AccessKey and a role complete what a profile lacks.
    pub is_completed: bool,
    /// Where it looks for the home directory.
    pub home: Home,
}

/// How a client reads the ini file of the SDKs.
#[derive(Debug)]
pub struct IniRule {
    /// The name of the file in `~/.alibabacloud`.
    pub file: &'static str,
    /// Whether `ALIBABA_CLOUD_CREDENTIALS_FILE` names the file.
    pub has_file_variable: bool,
    /// What it takes for an ini file. For Java, the section is always `default`, counts only with `enable = true`, and is one of
    /// keys if its type is unknown.
    pub syntax: Syntax,
    /// The types that it knows.
    pub types: &'static [&'static str],
    /// Where it looks for the home directory.
    pub home: Home,
}

/// Where a client looks for the home directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the variable `HOME`.
    Variable,
    /// In the account of the user.
    Account,
    /// The same, unless a property of Java names another.
    Java,
}

/// Which proxy a client uses for requests by HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// None.
    Never,
    /// The one of `HTTP_PROXY` or `http_proxy`, whatever `NO_PROXY` says.
    Always,
    /// The one of `HTTP_PROXY` or `http_proxy`, unless `NO_PROXY` excludes the host or it is loopback.
    Excluding,
}

/// What a step takes of a profile of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsPart {
    /// A role to assume.
    Role,
    /// A login by the access portal of AWS.
    Sso,
    /// A login by a browser.
    Login,
    /// Keys in the file of credentials.
    SharedKeys,
    /// A program.
    Process,
    /// Keys in the file of settings.
    ConfigKeys,
}

/// What becomes of a step.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// There is nothing for it: why.
    Absent(String),
    /// There is something that cannot be used, and the client goes on: why.
    Skipped(String),
    /// There is something that cannot be used, and the client fails: why, and what to do.
    Fails(String, Remedy),
    /// It answers.
    Answers(Finding),
    /// It answers if something outside does.
    Depends(Finding, On),
}

impl Outcome {
    /// Returns its name in JSON.
    pub fn name(&self) -> &'static str {
        let [absent, skipped, fails, answers, depends] = OUTCOMES.map(|(name, _)| name);
        match self {
            Self::Absent(_) => absent,
            Self::Skipped(_) => skipped,
            Self::Fails(..) => fails,
            Self::Answers(_) => answers,
            Self::Depends(..) => depends,
        }
    }
}

/// The names of outcomes, and what they mean.
pub const OUTCOMES: [(&str, &str); 5] = [
    ("absent", "there is nothing for it"),
    (
        "skipped",
        "there is something that cannot be used, and the client goes on",
    ),
    (
        "fails",
        "there is something that cannot be used, and the client fails",
    ),
    ("answers", "it has credentials"),
    (
        "depends",
        "it has credentials, on the condition that `on` names",
    ),
];

/// What an answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// STS accepts the proof.
    Sts,
    /// The metadata service is there and has a role.
    Metadata,
    /// A program prints credentials.
    Program,
    /// A login by a browser is still valid.
    Login,
    /// A value or a file that cannot be seen from here.
    Unseen,
    /// The client reads a file that does not keep to its format.
    Syntax,
    /// A server other than ours responds.
    Server,
}

impl On {
    /// All conditions.
    pub const ALL: [Self; 7] = [
        Self::Sts,
        Self::Metadata,
        Self::Program,
        Self::Login,
        Self::Unseen,
        Self::Syntax,
        Self::Server,
    ];

    /// Returns its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Metadata => "metadata",
            Self::Program => "program",
            Self::Login => "login",
            Self::Unseen => "unseen",
            Self::Syntax => "syntax",
            Self::Server => "server",
        }
    }

    /// Returns the condition, as the end of a sentence.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Sts => "if STS accepts it",
            Self::Metadata => "if the metadata service responds",
            Self::Program => "if the program succeeds",
            Self::Login => "if the login is still valid",
            Self::Syntax => "if the client can read it",
            Self::Unseen => "if it is complete, which cannot be seen from here",
            Self::Server => "if that server responds",
        }
    }
}

/// The credentials that a step yields.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whose they are, as far as it can be told without asking.
    pub identity: String,
    /// The keys, if they are known and the ID has the form of one. Only `--ask` uses them.
    pub keys: Option<Box<Keys>>,
    /// Whether they are ours.
    pub is_ours: bool,
    /// When they end, if that is known.
    pub ends: Option<String>,
    /// Whether the client renews them.
    pub is_renewed: bool,
    /// How to keep the client from them.
    pub remedy: Remedy,
}

/// How to keep a client from what a step takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Unset variables.
    Unset(Vec<&'static str>),
    /// Set a variable.
    Set(&'static str, &'static str),
    /// Do what a sentence says.
    Do(String),
    /// Have the server of the credentials URI serve the client, as a sentence says.
    Serve(String),
}

#[cfg(test)]
mod tests;
