//! The policy library: ready-made policies by name.

use dmdl_types::access::{Permission, PolicyDocument};

/// A ready-made policy; its owner adds the permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Template {
    /// Nobody but those whom the owner or the committee approves. The default.
    ReviewOnly,
    /// Researchers whose purpose is permitted: up to 90 days and 10 uses at once, more by review.
    ResearchAuto,
    /// Nobody but the owner, not even under a grant that was given before.
    Closed,
}

impl Template {
    /// All templates, by name.
    pub const ALL: [Self; 3] = [Self::Closed, Self::ResearchAuto, Self::ReviewOnly];

    /// The template with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// The template's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReviewOnly => "review-only",
            Self::ResearchAuto => "research-auto",
            Self::Closed => "closed",
        }
    }

    /// What the template does, in one sentence for its users.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::ReviewOnly => "Nobody but those whom the owner or the committee approves.",
            Self::ResearchAuto => {
                "Researchers whose purpose is permitted get up to 90 days and 10 uses at once; for more, the owner or the committee decides."
            }
            Self::Closed => "Nobody but the owner, not even under a grant that was given before.",
        }
    }

    /// The template's rules.
    #[must_use]
    pub const fn rules(self) -> &'static str {
        match self {
            Self::ReviewOnly => include_str!("../cedar/templates/review-only.cedar"),
            Self::ResearchAuto => include_str!("../cedar/templates/research-auto.cedar"),
            Self::Closed => include_str!("../cedar/templates/closed.cedar"),
        }
    }

    /// The document of this template with a permission.
    #[must_use]
    pub fn document(self, permission: Permission) -> PolicyDocument {
        PolicyDocument { permission, rules: self.rules().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ParsedPolicy;
    use dmdl_types::access::DuoCode;

    #[test]
    fn every_template_is_a_valid_policy_under_its_name() {
        for template in Template::ALL {
            let document = template.document(Permission { code: DuoCode::Hmb, diseases: vec![] });
            assert!(ParsedPolicy::parse(&document).is_ok(), "{}", template.name());
            assert_eq!(Template::named(template.name()), Some(template));
        }
        assert_eq!(Template::named("open"), None);
    }

    #[test]
    fn the_default_policy_is_review_only() {
        let names: Vec<String> = ParsedPolicy::default_for_channel().rule_names().map(str::to_owned).collect();
        assert_eq!(names, ["review"]);
    }
}
