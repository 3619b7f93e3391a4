//! stub
/// stub
#[derive(clap::Args, Debug)]
pub(crate) struct EvalArgs {}
pub(crate) fn run(_: EvalArgs) -> anyhow::Result<crate::status::Status> {
    anyhow::bail!("x")
}
