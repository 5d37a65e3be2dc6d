//! What a caller may do: permissions, sets of them, and the roles that grant them.

use std::fmt;

/// Writes the table of permissions once: the variant and its name.
macro_rules! permissions {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// One thing a caller may be allowed to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each is named in the table of docs/auth.md")]
        pub enum Permission { $($variant),* }

        impl Permission {
            /// Every permission.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As the API names it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

permissions! {
    ReadMarket "read:market",
    ReadOrders "read:orders",
    ReadAccount "read:account",
    ReadConfig "read:config",
    WriteOrders "write:orders",
    WriteCancel "write:cancel",
    AdminKeys "admin:keys",
    AdminUsers "admin:users",
    AdminConfig "admin:config",
    OperateKill "operate:kill",
    StrategiesSubmit "strategies:submit",
    StrategiesRead "strategies:read",
    WorldsRead "worlds:read",
    WorldsOperate "worlds:operate",
    EventsSubscribe "events:subscribe",
    ServiceCallback "service:callback",
}

const _: () = assert!(Permission::ALL.len() <= u32::BITS as usize, "a set is one word");

impl Permission {
    /// The permission of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u32);

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self::of(Permission::ALL);

    /// These.
    #[must_use]
    pub const fn of(list: &[Permission]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < list.len() {
            bits |= 1 << list[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    /// Whether `permission` is among them.
    #[must_use]
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u32) != 0
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.has(*permission))
    }

    /// Their names, as the API lists them.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Permission::name).collect()
    }

    /// As the store keeps it: names, so that a stored set never changes its meaning.
    #[must_use]
    pub fn to_text(self) -> String {
        self.names().join(" ")
    }

    /// What the store kept. A name that is unknown grants nothing.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let known: Vec<Permission> = text.split_whitespace().filter_map(Permission::from_name).collect();
        Self::of(&known)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What a user is; a user may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees market and configuration.
    Viewer,
    /// Trades, and pulls the kill switch.
    Trader,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Trader, Self::Admin];

    /// As the API names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Trader => "trader",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What it grants.
    #[must_use]
    pub const fn permissions(self) -> Permissions {
        use Permission as P;
        const VIEWER: Permissions = Permissions::of(&[P::ReadMarket, P::ReadConfig]);
        const TRADER: Permissions = VIEWER.or(Permissions::of(&[
            P::ReadOrders,
            P::ReadAccount,
            P::WriteOrders,
            P::WriteCancel,
            P::OperateKill,
            P::StrategiesSubmit,
            P::StrategiesRead,
            P::WorldsRead,
            P::EventsSubscribe,
        ]));
        match self {
            Self::Viewer => VIEWER,
            Self::Trader => TRADER,
            Self::Admin => Permissions::ALL,
        }
    }
}

/// What these roles grant together.
#[must_use]
pub fn granted(roles: &[Role]) -> Permissions {
    roles.iter().fold(Permissions::NONE, |all, role| all.or(role.permissions()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_grant_what_the_table_says() {
        let names = |role: Role| role.permissions().to_text();
        assert_eq!(names(Role::Viewer), "read:market read:config");
        assert_eq!(
            names(Role::Trader),
            "read:market read:orders read:account read:config write:orders write:cancel operate:kill \
             strategies:submit strategies:read worlds:read events:subscribe"
        );
        assert_eq!(Role::Admin.permissions(), Permissions::ALL);
        assert_eq!(granted(&[]), Permissions::NONE);
    }

    #[test]
    fn a_stored_set_comes_back_and_an_unknown_name_grants_nothing() {
        for permission in Permission::ALL {
            let set = Permissions::of(&[*permission]);
            assert_eq!(Permissions::from_text(&set.to_text()), set);
        }
        assert_eq!(Permissions::from_text("admin:all * read:Market"), Permissions::NONE);
    }
}
