//! Plain `name: value` output, aligned.

/// Lines of a name and a value, printed with the values in one column.
#[derive(Default)]
pub(crate) struct Table(Vec<(String, String)>);

impl Table {
    pub(crate) fn row(&mut self, name: impl Into<String>, value: impl ToString) -> &mut Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    pub(crate) fn print(&self) -> glebe::Result<()> {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &self.0 {
            let mut lines = value.lines();
            crate::out::line(format_args!("{name:width$}  {}", lines.next().unwrap_or("")))?;
            for line in lines {
                crate::out::line(format_args!("{:width$}  {line}", ""))?;
            }
        }
        Ok(())
    }
}
