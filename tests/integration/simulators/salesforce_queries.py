# ruff: noqa: S608 - the strings are SOQL
"""The queries that a reader of a Salesforce org asks, as the vendor's reference has them."""

from plumbline_simulators.salesforce.permissions import TIERS

_DANGEROUS = ("ModifyAllData", "ViewAllData", "ManageUsers", "AuthorApex", "CustomizeApplication")
_HELD = " OR ".join(f"PermissionSet.Permissions{name} = true" for name in _DANGEROUS)
_ANY_HELD = " OR ".join(f"PermissionSet.Permissions{name} = true" for names in TIERS.values() for name in names)
_COLUMNS = ", ".join(f"Permissions{name}" for name in _DANGEROUS)

REST = {
    "Q1": "SELECT Id, Name, OrganizationType, IsSandbox, InstanceName, NamespacePrefix, TrialExpirationDate, "
    "DefaultAccountAccess, DefaultContactAccess, DefaultOpportunityAccess, DefaultLeadAccess, DefaultCaseAccess, "
    "DefaultCampaignAccess FROM Organization",
    "Q2": "SELECT Id, Username, Name, Email, IsActive, UserType, ProfileId, Profile.Name, "
    "Profile.UserLicense.LicenseDefinitionKey, LastLoginDate, LastPasswordChangeDate, CreatedDate, "
    "FederationIdentifier FROM User WHERE IsActive = true",
    "Q3": "SELECT UserId, IsFrozen, IsPasswordLocked FROM UserLogin WHERE IsFrozen = true OR IsPasswordLocked = true",
    "Q5": f"SELECT Id, Name, UserType, UserLicense.Name, {_COLUMNS}, PermissionsApiEnabled, "
    "PermissionsPasswordNeverExpires FROM Profile",
    "Q6": "SELECT Id, Name, Label, Type, IsOwnedByProfile, IsCustom, NamespacePrefix, ProfileId, Profile.Name, "
    f"{_COLUMNS} FROM PermissionSet",
    "Q7": "SELECT AssigneeId, Assignee.Username, Assignee.UserType, Assignee.Profile.Name, PermissionSetId, "
    "PermissionSet.Label, PermissionSet.Type, PermissionSet.IsOwnedByProfile, PermissionSetGroupId, ExpirationDate "
    f"FROM PermissionSetAssignment WHERE Assignee.IsActive = true AND ({_HELD})",
    "Q8": f"SELECT AssigneeId FROM PermissionSetAssignment WHERE Assignee.IsActive = true AND ({_ANY_HELD})",
    "Q9": "SELECT UserId, HasSecurityKey, HasU2F, HasBuiltInAuthenticator, HasSalesforceAuthenticator, HasTotp, "
    "HasTempCode, HasUserVerifiedMobileNumber, HasVerifiedMobileNumber, HasUserVerifiedEmailAddress "
    "FROM TwoFactorMethodsInfo",
    "Q10": "SELECT UserId, Type FROM TwoFactorInfo",
    "Q11": "SELECT UserId, VerificationMethod, VerificationTime, Activity, Policy, Status FROM VerificationHistory "
    "WHERE VerificationTime = LAST_N_DAYS:90 AND Status IN ('Succeeded','AutomatedSuccess') "
    "AND UserId IN ('005000000000250AAA','005000000000255AAA')",
    "Q12": "SELECT UserId, LoginTime, LoginType, LoginSubType, Status, Application, SourceIp, CountryIso, TlsProtocol, "
    "AuthMethodReference, ApiType FROM LoginHistory WHERE LoginTime = LAST_N_DAYS:30 ORDER BY LoginTime DESC",
    "Q13": "SELECT UsersId, SessionType, LoginType, SourceIp, SessionSecurityLevel, NumSecondsValid, CreatedDate, "
    "LastModifiedDate FROM AuthSession",
    "Q14": "SELECT AppName, AppMenuItemId, AppMenuItem.IsUsingAdminAuthorization, AppMenuItem.ApplicationId, UserId, "
    "CreatedDate, LastUsedDate, UseCount FROM OauthToken ORDER BY CreatedDate ASC",
    "Q15": "SELECT Id, Name, OptionsAllowAdminApprovedUsersOnly, OptionsRefreshTokenValidityMetric, "
    "RefreshTokenValidityPeriod, OptionsHasSessionLevelPolicy, OptionsIsInternal, MobileSessionTimeout, PinLength, "
    "StartUrl, CreatedDate, LastModifiedDate FROM ConnectedApplication",
    "Q16a": "SELECT Id, DeveloperName, MasterLabel, DistributionState FROM ExternalClientApplication",
    "Q16b": "SELECT ExternalClientApplicationId, PermittedUsersPolicyType, IpRelaxationPolicyType, "
    "RefreshTokenPolicyType, RefreshTokenValidityPeriod, RefreshTokenValidityUnit, RequiredSessionLevel, "
    "IsClientCredentialsFlowEnabled, ClientCredentialsFlowUser FROM ExtlClntAppOauthPlcyCnfg",
    "Q16c": "SELECT ExternalClientApplicationId, OauthScopesFULL, OauthScopesAPI, OauthScopesREFRESH_TOKEN "
    "FROM ExtlClntAppOauthSettings",
    "Q17": "SELECT Id, Action, Section, Display, CreatedDate, CreatedById, CreatedBy.Username, DelegateUser "
    "FROM SetupAuditTrail WHERE CreatedDate = LAST_N_DAYS:30 ORDER BY CreatedDate DESC",
    "Q19a": "SELECT Id, Username, ProfileId, Profile.Name FROM User WHERE UserType = 'Guest' AND IsActive = true",
    "Q19b": "SELECT Parent.ProfileId, SobjectType, PermissionsCreate, PermissionsRead, PermissionsEdit, "
    "PermissionsDelete, PermissionsViewAllRecords, PermissionsModifyAllRecords FROM ObjectPermissions "
    "WHERE Parent.ProfileId IN ('00e000000000004AAA')",
    "Q20": "SELECT Id, Name, Status, OptionsGuestChatterEnabled, OptionsSelfRegistrationEnabled, "
    "OptionsGuestMemberVisibility FROM Network",
    "Q21": "SELECT Id, Name, Status, SiteType, GuestUserId, ClickjackProtectionLevel, OptionsRequireHttps, "
    "OptionsContentSniffingProtection, OptionsBrowserXssProtection, OptionsCspUpgradeInsecureRequests, "
    "OptionsAllowGuestSupportApi FROM Site WHERE Status = 'Active'",
    "Q24": "SELECT DeveloperName, UrlPattern FROM CorsWhitelistEntry",
    "Q25": "SELECT DeveloperName, EndpointUrl, IsActive, Context, IsApplicableToConnectSrc, IsApplicableToFrameSrc "
    "FROM CspTrustedSite WHERE IsActive = true",
    "Q26": "SELECT DeveloperName, MasterLabel, Endpoint, PrincipalType FROM NamedCredential",
    "Q27": "SELECT DeveloperName, MasterLabel, Version, Issuer, Audience, IdentityMapping, OptionsSpInitBinding, "
    "OptionsUserProvisioning, OptionsRequireMfaSaml, RequestSignatureMethod, LoginUrl, ValidationCert "
    "FROM SamlSsoConfig",
    "Q28a": "SELECT DeveloperName, ProviderType, FriendlyName FROM AuthProvider",
    "Q28b": "SELECT DeveloperName, Url, IsActive, AuthOptionsUsernamePassword, AuthOptionsSaml, "
    "AuthOptionsAuthProvider, Type FROM AuthConfig",
    "Q29": "SELECT UsersId, SourceIp, IsAuthenticated, ChallengeMethod, CreatedDate FROM LoginIp",
    "Q32": "SELECT Field, SobjectType, ParentId, Parent.Label, Parent.IsOwnedByProfile, PermissionsRead, "
    "PermissionsEdit FROM FieldPermissions WHERE Field LIKE '%SSN%' OR Field LIKE '%Birth%'",
    "Q33": "SELECT SobjectType, ParentId, Parent.Label, Parent.IsOwnedByProfile, Parent.Profile.Name, "
    "PermissionsViewAllRecords, PermissionsModifyAllRecords FROM ObjectPermissions "
    "WHERE PermissionsModifyAllRecords = true OR PermissionsViewAllRecords = true",
    "Q34b": "SELECT NamespacePrefix, Status, AllowedLicenses, UsedLicenses, ExpirationDate FROM PackageLicense",
    "Q35a": "SELECT Domain, Selector, IsActive FROM EmailDomainKey",
    "Q35b": "SELECT Host, TlsSetting, IsRequireAuth FROM EmailRelay",
    "Q35c": "SELECT FunctionName, IsActive, IsAuthenticationRequired, IsTlsRequired FROM EmailServicesFunction",
    "Q36": "SELECT Id, Type, Status, Source, Version, KeyDerivationMode, CreatedDate FROM TenantSecret "
    "ORDER BY CreatedDate DESC",
    "Q37": "SELECT Id, PreferencesPasswordRequired, PreferencesExpires, ExpiryDate, ViewCount, CreatedDate, OwnerId "
    "FROM ContentDistribution",
    "Q38": "SELECT EventType, LogDate FROM EventLogFile WHERE LogDate = LAST_N_DAYS:7",
    "Q39": "SELECT ParentId, SetupEntityId, SetupEntityType FROM SetupEntityAccess "
    "WHERE SetupEntityType = 'ConnectedApplication'",
    "Q40": "SELECT Name, Status, TotalLicenses, UsedLicenses FROM UserLicense",
    "rights": "SELECT PermissionsViewSetup, PermissionsViewAllUsers FROM UserPermissionAccess",
}
TOOLING = {
    "T1": "SELECT DurableId, CustomBaselineId, Score FROM SecurityHealthCheck",
    "T2": "SELECT DurableId, RiskType, Setting, SettingGroup, SettingRiskCategory, OrgValue, OrgValueRaw, "
    "StandardValue, StandardValueRaw FROM SecurityHealthCheckRisks",
    "Q15": REST["Q15"],
    "Q16a": REST["Q16a"],
    "Q16b": REST["Q16b"],
    "Q16c": REST["Q16c"],
    "Q18": "SELECT QualifiedApiName, Label, InternalSharingModel, ExternalSharingModel FROM EntityDefinition "
    "WHERE IsCustomizable = true AND IsDeprecatedAndHidden = false ORDER BY QualifiedApiName LIMIT 2000",
    "Q21": "SELECT DurableId, IsRegistrationEnabled, SecureUrl FROM SiteDetail",
    "Q22": "SELECT Id, DeveloperName, MasterLabel, ExpirationDate, KeySize, OptionsIsCaSigned, "
    "OptionsIsPrivateKeyExportable, OptionsIsUnusable FROM Certificate",
    "Q23": "SELECT Id, SiteName, EndpointUrl, IsActive, ProtocolMismatch, NamespacePrefix FROM RemoteProxy",
    "Q25": REST["Q25"],
    "Q26": "SELECT DeveloperName, MasterLabel, Endpoint, PrincipalType, NamedCredentialType FROM NamedCredential",
    "Q30": "SELECT Id, Metadata FROM Profile WHERE Id = '00e000000000000AAA'",
    "Q31": "SELECT DeveloperName, State, EventName, Type, ActionConfig, ExecutionUserId FROM TransactionSecurityPolicy",
    "Q34a": "SELECT SubscriberPackage.Name, SubscriberPackage.NamespacePrefix, "
    "SubscriberPackageVersion.IsSecurityReviewed, SubscriberPackageVersion.IsBeta, "
    "SubscriberPackageVersion.IsDeprecated FROM InstalledSubscriberPackage",
}
SETTINGS = {
    "SecuritySettings": {
        "canUsersGrantLoginAccess", "enableAdminLoginAsAnyUser", "networkAccess.ipRanges",
        "passwordPolicies.minimumPasswordLength", "sessionSettings.sessionTimeout",
        "singleSignOnSettings.isLoginWithSalesforceCredentialsDisabled", "redirectBlockModeEnabled",
    },
    "ConnectedAppSettings": {"enableAdminApprovedAppsOnly", "enableAdminApprovedAppsOnlyForExternalUser"},
    "OauthOidcSettings": {"blockOAuthUnPwFlow", "blockOAuthUsrAgtFlow", "isPkceRequired", "oAuthCdCrdtFlowEnable"},
    "ExternalClientAppSettings": {
        "enableConsumerSecretApiAccess", "enableClientSecretInRestApiAccess", "enablePackageEcaOauthFromDevOrg",
    },
    "MyDomainSettings": {
        "canOnlyLoginWithMyDomainUrl", "doesApiLoginRequireOrgDomain", "isFirstPartyCookieUseRequired",
        "isInstancedApiTrafficBlocked",
    },
    "SharingSettings": {
        "enableExternalSharingModel", "enableRestrictAccessLookupRecords", "enablePortalUserVisibility",
        "enableCommunityUserVisibility", "enableManualUserRecordSharing", "enableSecureGuestAccess",
    },
    "FileUploadAndDownloadSecuritySettings": {"noHtmlUploadAsAttachment", "dispositions"},
    "UserManagementSettings": {
        "enableEnhancedConcealPersonalInfo", "enableConcealPersonalInfo", "enableRestrictEmailDomains",
        "enableProfileFiltering", "enableScrambleUserData", "restrictedProfileCloning",
    },
    "EventSettings": {
        "enableEventLogGeneration", "enableDeleteMonitoringData", "enableTransactionSecurityPolicies",
        "enableLoginForensics", "eventLogRetentionDuration",
    },
    "PlatformEncryptionSettings": {
        "enableEncryptFieldHistory", "enableEventBusEncryption", "isUseHighAssuranceKeysRequired",
    },
    "EncryptionKeySettings": {"enableReplayDetection", "enableCacheOnlyKeys"},
    "ContentSettings": {
        "enableContentDistribution", "enableContentDistPwOptionsBit1", "enableContentDistPwOptionsBit2",
        "enableSiteGuestUserToUploadFiles", "IsMaliciousFileNotificationsEnabled",
    },
    "ApexSettings": {
        "enableAuraApexCtrlGuestUserAccessCheckPref", "enableAuraApexCtrlAuthUserAccessCheckPref",
        "enableSecureNoArgConstructorPref", "enableRestrictCommunityExecAnon",
    },
    "EmailAdministrationSettings": {
        "enableRestrictTlsToDomains", "enableVerifyEmailDomainByDkim", "enableEmailSpfCompliance",
        "enableEmailSenderIdCompliance",
    },
    "CommunitiesSettings": {
        "enableGuestSecurityOptOutCruc", "enableGuestPermDisOptOutCruc", "enableGuvSecurityOptOutPref",
    },
}  # fmt: skip
