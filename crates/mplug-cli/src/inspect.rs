//! stub
/// stub
#[derive(clap::Args, Debug)]
pub(crate) struct InspectArgs {}
pub(crate) fn run(_: &InspectArgs) -> anyhow::Result<crate::status::Status> {
    anyhow::bail!("x")
}
