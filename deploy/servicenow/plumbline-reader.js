// Gives the role plumbline_reader read access to the tables that Plumbline reads, and nothing else.
// Run it under System Definition > Scripts - Background, scope global, as an administrator with security_admin elevated.
// It creates what is missing, keeps what is there, and can be run again. REMOVE = true takes back what it created.
//
// Where a table has no read rule of its own, the rules of its parent or of * apply. A first rule on the table would
// replace them, for everybody: users who are no administrators could lose access. Such tables are left out and named;
// look at who reads them, then set FIRST = true to include them.
(function () {
    var REMOVE = false;
    var FIRST = false;
    var ROLE = 'plumbline_reader';
    var MARK = 'Read access for Plumbline';
    var TABLES = [
        'blacklisted_password', 'ecc_agent', 'ecc_agent_property', 'ip_access', 'kb_knowledge_base',
        'kb_uc_can_contribute_mtom', 'kb_uc_can_read_mtom', 'ldap_server_config', 'ldap_server_url',
        'multi_factor_criteria', 'oauth_entity', 'password_policy', 'pwd_cred_store', 'sp_page', 'sp_widget',
        'sso_properties', 'sys_api_access_policy', 'sys_audit', 'sys_audit_delete', 'sys_certificate',
        'sys_cors_rule', 'sys_db_object', 'sys_dictionary', 'sys_group_has_role', 'sys_plugins', 'sys_processor',
        'sys_properties', 'sys_public', 'sys_rate_limit_rules', 'sys_script_include', 'sys_security_acl',
        'sys_security_acl_role', 'sys_store_app', 'sys_user', 'sys_user_basic_auth_exception', 'sys_user_grmember',
        'sys_user_has_role', 'sys_user_role', 'sys_user_role_contains', 'sys_whitelist_member',
        'sys_whitelist_package', 'sys_ws_definition', 'sys_ws_operation', 'sysevent_script_action',
        'user_multifactor_auth', 'v_plugin'
    ];

    function roleId() {
        var role = new GlideRecord('sys_user_role');
        if (role.get('name', ROLE)) {
            return role.getUniqueValue();
        }
        role.initialize();
        role.setValue('name', ROLE);
        role.setValue('description', MARK);
        return role.insert();
    }

    function readRules(name) {
        var acl = new GlideRecord('sys_security_acl');
        acl.addQuery('name', name);
        acl.addQuery('type', 'record');
        acl.addQuery('operation', 'read');
        return acl;
    }

    function rule(name) {
        var acl = readRules(name);
        acl.addQuery('description', MARK);
        acl.query();
        return acl.next() ? acl : null;
    }

    function hasRules(name) {
        var acl = readRules(name);
        acl.addQuery('active', true);
        acl.query();
        return acl.hasNext();
    }

    function create(name, role) {
        if (rule(name)) {
            return 'kept';
        }
        if (!FIRST && !hasRules(name)) {
            return 'left out: it would be the first read rule on this name; see FIRST';
        }
        var acl = new GlideRecord('sys_security_acl');
        acl.initialize();
        acl.setValue('name', name);
        acl.setValue('type', 'record');
        acl.setValue('operation', 'read');
        acl.setValue('description', MARK);
        acl.setValue('admin_overrides', true);
        acl.setValue('active', false);
        var id = acl.insert();
        if (!id) {
            return 'refused: is security_admin elevated?';
        }
        var grant = new GlideRecord('sys_security_acl_role');
        grant.initialize();
        grant.setValue('sys_security_acl', id);
        grant.setValue('sys_user_role', role);
        if (!grant.insert()) {
            acl.deleteRecord();
            return 'refused: the role could not be set, so the rule was taken back';
        }
        acl.setValue('active', true);
        acl.update();
        return 'created';
    }

    function remove(name) {
        var acl = rule(name);
        if (!acl) {
            return 'not there';
        }
        var grants = new GlideRecord('sys_security_acl_role');
        grants.addQuery('sys_security_acl', acl.getUniqueValue());
        grants.deleteMultiple();
        return acl.deleteRecord() ? 'removed' : 'refused: is security_admin elevated?';
    }

    if (!gs.hasRole('security_admin')) {
        gs.print('Nothing was done: elevate to security_admin first.');
        return;
    }
    var role = REMOVE ? null : roleId();
    TABLES.forEach(function (table) {
        if (!gs.tableExists(table)) {
            gs.print(table + ': no such table on this release');
            return;
        }
        [table, table + '.*'].forEach(function (name) {
            gs.print(name + ': ' + (REMOVE ? remove(name) : create(name, role)));
        });
    });
})();
