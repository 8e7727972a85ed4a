//! The demo server's prompts, and what completes their arguments.

use super::handler::DemoServer;
use rmcp::handler::server::router::prompt::PromptRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{PromptMessage, Role};
use rmcp::{prompt, prompt_router};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::LazyLock;

/// Built once: the prompts never change.
pub(super) static PROMPTS: LazyLock<PromptRouter<DemoServer>> = LazyLock::new(DemoServer::prompt_router);

/// Values for the argument `audience` of `summarize`.
const AUDIENCES: &[&str] = &["a child", "a colleague", "an engineer", "an executive"];

#[derive(Deserialize, JsonSchema)]
struct Summarize {
    /// The text.
    text: String,
    /// Who it is for. Default: a colleague.
    audience: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct ExplainError {
    /// The error, as it was shown.
    message: String,
    /// What was done when it appeared.
    context: Option<String>,
}

#[prompt_router]
impl DemoServer {
    #[prompt(title = "Summarize", description = "Asks for a summary of a text for somebody.")]
    async fn summarize(&self, Parameters(Summarize { text, audience }): Parameters<Summarize>) -> Vec<PromptMessage> {
        let audience = audience.as_deref().unwrap_or("a colleague");
        vec![PromptMessage::new_text(
            Role::User,
            format!("Summarize the following text for {audience} in at most five sentences.\n\n{text}"),
        )]
    }

    #[prompt(title = "Explain an error", description = "Asks what an error means and what to do about it.")]
    async fn explain_error(
        &self,
        Parameters(ExplainError { message, context }): Parameters<ExplainError>,
    ) -> Vec<PromptMessage> {
        let context = context.map_or_else(String::new, |context| format!("\n\nIt appeared when: {context}"));
        vec![PromptMessage::new_text(
            Role::User,
            format!(
                "Explain this error: what it means, its likely cause, and the first thing to try.\n\n\
                 ```\n{message}\n```{context}"
            ),
        )]
    }
}

/// What a prompt's argument may be.
pub(super) fn completions(prompt: &str, argument: &str) -> &'static [&'static str] {
    match (prompt, argument) {
        ("summarize", "audience") => AUDIENCES,
        _ => &[],
    }
}
