package lab

// AuditLog is the path of the audit log.
func (c *ControlPlane) AuditLog() string { return c.Log("audit") }

// auditPolicy leaves out the stage at which nothing is decided yet.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// auditing is what writes the audit log, before each answer, and what sends the events
// to a webhook, soon after it.
func (c *ControlPlane) auditing() (flags []string) {
	if c.audit || c.auditWebhook != "" {
		flags = append(flags, "--audit-policy-file="+c.pki("audit-policy.yaml"))
	}
	if c.audit {
		flags = append(flags, "--audit-log-path="+c.AuditLog(), "--audit-log-mode=blocking-strict")
	}
	if c.auditWebhook != "" {
		flags = append(flags, "--audit-webhook-config-file="+c.auditWebhook, "--audit-webhook-batch-max-wait=1s")
	}
	return flags
}
