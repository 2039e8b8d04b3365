package lab

// AuditLog is the path of the audit log.
func (c *ControlPlane) AuditLog() string { return c.Log("audit") }

// auditPolicy leaves out the stage at which nothing is decided yet.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// auditing is what writes the audit log, before each answer.
func (c *ControlPlane) auditing() []string {
	if !c.audit {
		return nil
	}
	return []string{"--audit-policy-file=" + c.pki("audit-policy.yaml"), "--audit-log-path=" + c.AuditLog(), "--audit-log-mode=blocking-strict"}
}
